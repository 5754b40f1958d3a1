"""Reading volumes, turning them, and sampling them in millimetres: against closed forms, nibabel and SciPy."""

import gzip
import itertools
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plugins.volumes_made import affine_of, head, save, save_4d, spine, stored_as
from scipy import ndimage

from cfbench.errors import DataError, NotFiniteError
from cfbench_volumes.geometry import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    bounds,
    directions,
    labels_on,
    middle,
    sample,
    sample_mask,
    turned,
    voxel_of,
)
from cfbench_volumes.intensity import percentiles, stored, windowed
from cfbench_volumes.volume import Volume, read_labels, read_volume

ORIENTATIONS = ["RAS", "LPS", "LAS", "PIR", "ASL", "SPL", "IRP"]


def oblique(spacing: tuple[float, float, float], degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) * spacing
    affine[:3, 3] = (5, -7, 11)
    return affine


# --- orientation


@pytest.mark.parametrize("axes", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_the_same_case_stored_otherwise_gives_the_same_patch_to_the_bit(tmp_path: Path, axes: str, suffix: str) -> None:
    image, mask = spine((20, 21), (0.9, 0.7, 1.5))
    patches = []
    for stored_in in ("RAS", axes):
        raw = read_volume(save(tmp_path / f"{stored_in}_a{suffix}", image, (0.9, 0.7, 1.5), stored_in))
        labels = read_labels(save(tmp_path / f"{stored_in}_m{suffix}", mask, (0.9, 0.7, 1.5), stored_in))
        volume, drawn = turned(raw, SAGITTAL), labels_on(raw, labels, SAGITTAL)
        centre = np.argwhere(drawn.voxels == 20).mean(axis=0)
        grid = (centre, (1, 48, 64), (1.0, 1.0, 1.0))
        patches.append((sample(volume, *grid, outside=-1000.0), sample_mask(drawn, (20,), *grid)))
    assert (patches[0][0] == patches[1][0]).all()
    assert (patches[0][1] == patches[1][1]).all()
    assert patches[0][1].any()


def test_a_mask_may_be_stored_in_another_orientation_than_its_image(tmp_path: Path) -> None:
    image, mask = spine((20,))
    raw = read_volume(save(tmp_path / "image.nii.gz", image, axes="LPS"))
    labels = read_labels(save(tmp_path / "mask.nii.gz", mask, axes="SAR"))
    assert (labels_on(raw, labels, ("R", "A", "S")).voxels == mask).all()


def test_a_sagittal_slice_has_the_head_up_and_the_face_to_the_left(tmp_path: Path) -> None:
    image = np.zeros((8, 10, 12), np.int16)
    image[:, 9, :] = 1  # the front
    image[:, :, 11] = 2  # the head
    image[7] += 10  # the right
    seen = turned(read_volume(save(tmp_path / "a.nii.gz", image, axes="LPS")), SAGITTAL).voxels
    assert (seen[3, 0] == 2).all()
    assert (seen[3, 1:, 0] == 1).all()
    assert (seen[7] >= 10).all()
    assert (seen[:7] < 10).all()


def test_an_axial_slice_has_the_front_up_and_the_patients_left_on_the_right(tmp_path: Path) -> None:
    image = np.zeros((8, 10, 12), np.int16)
    image[0] = 1  # the left
    image[:, 9] += 10  # the front
    seen = turned(read_volume(save(tmp_path / "a.nii.gz", image, axes="PIR")), AXIAL).voxels
    assert seen.shape == (12, 10, 8)
    assert (seen[:, 1:, -1] == 1).all()
    assert (seen[:, 0] >= 10).all()
    assert turned(read_volume(tmp_path / "a.nii.gz"), CORONAL).voxels.shape == (10, 12, 8)


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_points_given_along_other_axes_are_the_same_points(axes: str) -> None:
    array, shape = np.zeros((9, 7, 5)), np.array([9, 7, 5])
    affine = affine_of((0.5, 2.0, 3.0))
    point = np.array([2.0, 3.5, 1.25])  # in RAS voxels
    world = affine @ [*point, 1]
    for other in ORIENTATIONS:
        voxels, there = stored_as(array, affine, other)
        given_in = np.linalg.inv(there) @ world  # the same point, along these axes
        volume = Volume(*stored_as(array, affine, axes), "a")
        back = volume.affine @ [*voxel_of(given_in[:3].tolist(), tuple(other), volume), 1]
        assert np.allclose(back, world)
        assert voxels.size == shape.prod()


@pytest.mark.parametrize("axes", [("P", "I"), ("P", "A", "R"), ("X", "I", "R"), ("P", "I", "R", "R")])
def test_axes_that_are_none_are_refused(axes: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="expected one of R or L"):
        voxel_of([0.0, 0.0, 0.0], axes, Volume(np.zeros((3, 3, 3)), np.eye(4), "a"))


# --- sampling


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.floats(0.4, 4.0)] * 3),
    st.tuples(*[st.floats(0.4, 6.0)] * 3),
    st.floats(-30, 30),
    st.sampled_from(ORIENTATIONS),
)
def test_a_field_that_is_linear_in_millimetres_is_sampled_exactly(
    spacing: tuple[float, float, float], step: tuple[float, float, float], degrees: float, axes: str
) -> None:
    """Whatever the spacing, the orientation and the slant of the grid: values are those at the points' places."""
    affine = oblique(spacing, degrees)
    index = np.stack(np.meshgrid(*map(np.arange, (14, 15, 16)), np.ones(1), indexing="ij"), -1)[:, :, :, 0]
    slope = np.array([3.0, -2.0, 0.5, 100.0])
    volume = turned(Volume(*stored_as(index @ affine.T @ slope, affine, axes), "a"), SAGITTAL)
    got = sample(volume, middle(volume), (3, 4, 5), step, outside=np.nan)
    offsets = np.stack(np.meshgrid(*((np.arange(n) - (n - 1) / 2) for n in (3, 4, 5)), indexing="ij"), -1)
    at = middle(volume) + offsets * np.array(step) / volume.spacing
    inside = ((at >= 0) & (at <= np.array(volume.voxels.shape) - 1)).all(-1)
    expected = np.concatenate([at, np.ones((*at.shape[:3], 1))], -1) @ volume.affine.T @ slope
    assert inside[1].any()
    assert np.allclose(got[inside], expected[inside], rtol=1e-4, atol=1e-2)


def test_sampling_is_scipys_linear_interpolation() -> None:
    voxels = np.random.default_rng(0).normal(size=(9, 12, 11)).astype(np.float32)
    volume = Volume(voxels, np.diag([2.0, 1.0, 0.5, 1.0]), "a")
    centre, shape, spacing = np.array([3.3, 6.1, 5.7]), (3, 5, 4), (1.7, 1.3, 0.6)
    at = np.meshgrid(
        *(
            c + (np.arange(n) - (n - 1) / 2) * s / z
            for c, n, s, z in zip(centre, shape, spacing, (2, 1, 0.5), strict=True)
        ),
        indexing="ij",
    )
    expected = ndimage.map_coordinates(voxels.astype(np.float64), np.array(at), order=1)
    assert np.allclose(sample(volume, centre, shape, spacing, outside=0.0), expected, atol=1e-6)


def test_points_more_than_half_a_voxel_outside_have_the_value_asked_for() -> None:
    volume = Volume(np.ones((4, 4, 4), np.int16), np.eye(4), "a")
    line = sample(volume, np.array([0.0, 0.0, 0.0]), (1, 1, 5), (1.0, 1.0, 0.5), outside=-7.0)[0, 0]
    assert line.tolist() == [-7, 1, 1, 1, 1]  # at -1, -0.5, 0, 0.5, 1
    assert (sample(volume, np.array([50.0, 0, 0]), (2, 2, 2), (1.0, 1.0, 1.0), outside=3.0) == 3).all()


def test_antialiasing_averages_what_interpolation_would_skip() -> None:
    stripes = np.zeros((1, 1, 64), np.float32)
    stripes[..., ::2] = 1  # one voxel wide: sampled at every fourth, all of them are hit
    volume = Volume(stripes, np.eye(4), "a")
    coarse = (np.array([0.0, 0.0, 32.0]), (1, 1, 9), (1.0, 1.0, 4.0))
    assert (sample(volume, *coarse, outside=0.0) == 1).all()
    assert np.allclose(sample(volume, *coarse, outside=0.0, antialias=True), 0.5, atol=0.01)
    fine = (np.array([0.0, 0.0, 32.0]), (1, 1, 9), (1.0, 1.0, 0.5))
    assert (sample(volume, *fine, outside=0.0) == sample(volume, *fine, outside=0.0, antialias=True)).all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.8, 3.0), (2.0, 1.0, 0.7)])
def test_a_ball_has_its_size_in_millimetres_whatever_the_voxels(spacing: tuple[float, float, float]) -> None:
    size = [int(60 / s) for s in spacing]
    affine = np.diag([*spacing, 1.0])
    grid = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(size, spacing, strict=True)), indexing="ij"), -1)
    centre_mm = np.array([30.0, 30.0, 30.0])
    ball = Volume((np.linalg.norm(grid - centre_mm, axis=-1) < 12).astype(np.int16) * 5, affine, "a")
    centre = centre_mm / spacing
    found = sample_mask(ball, (5,), centre, (50, 50, 50), (1.0, 1.0, 1.0))
    assert found.sum() == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.06)
    assert np.allclose(np.argwhere(found).mean(axis=0), 24.5, atol=0.3)
    first, last = bounds(found)
    assert ((last - first + 1 >= 22) & (last - first + 1 <= 26)).all()
    assert not sample_mask(ball, (4,), centre, (9, 9, 9), (1.0, 1.0, 1.0)).any()


# --- values


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(np.int16, -1024, 3071), (np.uint16, 0, 65535), (np.int32, -70000, 70000), (np.uint8, 0, 255)],
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha"])
def test_integers_of_12_and_16_bits_keep_their_range(
    tmp_path: Path, dtype: type, low: int, high: int, suffix: str
) -> None:
    voxels = np.linspace(low, high, 4 * 5 * 6).astype(dtype).reshape(4, 5, 6)
    found = read_volume(save(tmp_path / f"a{suffix}", voxels, axes="LPS"))
    back = turned(found, ("R", "A", "S")).voxels
    assert (back == voxels).all()
    assert back.dtype == dtype


def test_the_headers_slope_and_intercept_count(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    data = bytearray(path.read_bytes())
    data[112:120] = struct.pack("<2f", 2.0, -1024.0)
    path.write_bytes(bytes(data))
    found = read_volume(path)
    assert (found.voxels == np.arange(24).reshape(2, 3, 4) * 2.0 - 1024).all()
    assert found.voxels.dtype == np.float32


def test_windows_cut_and_scale() -> None:
    values = np.array([-2000, -500, 400, 1300, 3071], np.float32)
    assert np.allclose(windowed(values, -500, 1300), [0, 0, 0.5, 1, 1])
    with pytest.raises(DataError, match="window"):
        windowed(values, 5, 5)
    assert percentiles(np.arange(1001), 0, 99.5, "a") == (0, 995)
    with pytest.raises(DataError, match="empty"):
        percentiles(np.zeros(10), 0, 99.5, "a")


@given(st.floats(0, 1, width=32))
def test_stored_values_are_within_a_131070th(value: float) -> None:
    assert abs(stored(np.array([value], np.float32))[0] / 65535 - value) <= 1 / 131070 + 1e-7


# --- files that cannot be used


def test_no_such_file_and_no_volume(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_volume(tmp_path / "a.nii.gz")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match="expected a volume"):
        read_volume(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    whole = save(tmp_path / f"a{suffix}", np.random.default_rng(0).integers(0, 4000, (20, 20, 20)).astype(np.int16))
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match="cut"):
        read_volume(cut)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".nrrd"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"subject,label\n007,1\n" * 100)
    with pytest.raises(DataError, match="a" + suffix):
        read_volume(tmp_path / f"a{suffix}")


def test_a_header_that_asks_for_too_much_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.zeros((2, 2, 2), np.int16))
    data = bytearray(path.read_bytes())
    data[40:56] = struct.pack("<8h", 3, 30000, 30000, 30000, 1, 1, 1, 1)
    path.with_suffix(".nii.gz").write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(DataError, match="voxels at most"):
        read_volume(path.with_suffix(".nii.gz"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    voxels = np.full((3, 3, 3), 5, np.float32)
    voxels[0, 0, 0], voxels[1, 2, 0] = 2, value
    path = save(tmp_path / "a.nii.gz", voxels)
    with pytest.raises(NotFiniteError, match=r"1 voxels .* \(1, 2, 0\)"):
        read_volume(path)
    found = read_volume(path, nan="lowest").voxels
    assert found[1, 2, 0] == 2
    assert found[2, 2, 2] == 5
    with pytest.raises(NotFiniteError):
        read_volume(save(tmp_path / "b.nii.gz", np.full((2, 2, 2), np.nan, np.float32)), nan="lowest")


def _with_affine(path: Path, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), np.int16), np.eye(4)), path)
    data = bytearray(path.read_bytes())
    data[252:256] = struct.pack("<2h", 0, 2)
    data[280:328] = affine[:3].astype("<f4").tobytes()
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize(
    "axes",
    [
        np.diag([1, 1, 0]),
        np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]]),
        np.array([[1, 0.2, 0], [0, 1, 0], [0, 0, 1]]),
        np.zeros((3, 3)),
    ],
)
def test_singular_and_sheared_affines_are_refused(tmp_path: Path, axes: np.ndarray) -> None:
    affine = np.eye(4)
    affine[:3, :3] = axes
    with pytest.raises(DataError, match="affine"):
        read_volume(_with_affine(tmp_path / "a.nii", affine))
    affine[0, 0] = np.nan
    with pytest.raises(DataError, match="affine"):
        read_volume(_with_affine(tmp_path / "a.nii", affine))


def test_a_slanted_affine_is_not_a_sheared_one(tmp_path: Path) -> None:
    volume = read_volume(_with_affine(tmp_path / "a.nii", oblique((1, 2, 3), 20)))
    assert np.allclose(volume.spacing, (1, 2, 3))
    assert directions(volume) == ("R", "A", "S")


def test_an_unknown_orientation_is_refused(tmp_path: Path) -> None:
    path = _with_affine(tmp_path / "a.nii", np.eye(4))
    data = bytearray(path.read_bytes())
    data[252:256] = struct.pack("<2h", 0, 0)
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="left and right are unknown"):
        read_volume(path)


def test_four_dimensions_where_three_are_expected_and_the_reverse(tmp_path: Path) -> None:
    flat = save_4d(tmp_path / "flat.nii.gz", np.zeros((3, 4, 5, 1), np.int16))
    many = save_4d(tmp_path / "many.nii.gz", np.arange(240, dtype=np.int16).reshape(3, 4, 5, 4))
    assert read_volume(flat).voxels.shape == (3, 4, 5)
    with pytest.raises(DataError, match="4D"):
        read_volume(many)
    assert (read_volume(many, 2, 4).voxels == np.arange(240).reshape(3, 4, 5, 4)[..., 2]).all()
    for channel, channels in ((0, 3), (4, 0)):
        with pytest.raises(DataError, match="expected 4D"):
            read_volume(many, channel, channels)
    with pytest.raises(DataError, match="expected 4D with 4"):
        read_volume(save(tmp_path / "three.nii.gz", np.zeros((3, 4, 5), np.int16)), 0, 4)
    plane = nibabel.Nifti1Image(np.zeros((3, 4), np.int16), np.eye(4))
    nibabel.save(plane, tmp_path / "plane.nii")
    with pytest.raises(DataError, match="three sizes"):
        read_volume(tmp_path / "plane.nii")


def test_colours_are_refused(tmp_path: Path) -> None:
    colour = np.zeros((2, 2, 2), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(DataError, match="one number per voxel"):
        read_volume(tmp_path / "a.nii")


# --- masks


def test_labels_may_be_stored_as_floats_but_must_be_whole(tmp_path: Path) -> None:
    labels = np.arange(27).reshape(3, 3, 3)
    found = read_labels(save(tmp_path / "a.nii.gz", labels.astype(np.float64)))
    assert found.voxels.dtype == np.int16
    assert (found.voxels == labels).all()
    with pytest.raises(DataError, match="whole"):
        read_labels(save(tmp_path / "b.nii.gz", labels + 0.25))
    with pytest.raises(DataError, match="label map"):
        read_labels(save(tmp_path / "c.nii.gz", labels * 10_000.0))


def test_masks_of_another_shape_or_place_are_refused(tmp_path: Path) -> None:
    raw = read_volume(save(tmp_path / "image.nii.gz", head((10, 12, 8))))
    with pytest.raises(DataError, match=r"mask.nii.gz: .* \[10, 12, 7\]"):
        labels_on(raw, read_labels(save(tmp_path / "mask.nii.gz", np.zeros((10, 12, 7), np.uint8))), ("R", "A", "S"))
    there = Volume(np.ones((10, 12, 8), np.int16), raw.affine, "mask")
    assert labels_on(raw, there, SAGITTAL).voxels.shape == (10, 8, 12)
    for shift, scale in ((0.6, 1.0), (0.0, 1.2)):
        moved = raw.affine.copy()
        moved[0, 3] += shift
        moved[:3, :3] *= scale
        wrong = Volume(np.ones((10, 12, 8), np.int16), moved, "mask")
        with pytest.raises(DataError, match="off the image"):
            labels_on(raw, wrong, SAGITTAL)
        assert (labels_on(raw, wrong, SAGITTAL, "image").voxels == 1).all()
    with pytest.raises(DataError, match="expected the same"):
        labels_on(raw, Volume(np.ones((12, 10, 8), np.int16), raw.affine, "mask"), SAGITTAL, "image")


# --- genuine files


def test_genuine_volumes_are_read_where_they_lie(test_data: Path) -> None:
    folder = test_data / "nifti"
    for path in sorted(folder.rglob("*.nii.gz")):
        volume, theirs = read_volume(path), nibabel.load(path)
        assert volume.voxels.shape == theirs.shape
        assert np.allclose(volume.affine, theirs.affine)
        assert directions(volume) == nibabel.aff2axcodes(theirs.affine)
        for corner in itertools.product((0, -1), repeat=3):
            assert volume.voxels[corner] == np.asanyarray(theirs.dataobj)[corner]


@pytest.mark.parametrize(
    ("image", "mask", "label"),
    [
        ("sub-ct_label-22_ct.nii.gz", "sub-ct_seg-vert_label-22_msk.nii.gz", 22),
        ("sub-mri_label-6_T2w.nii.gz", "sub-mri_seg-vert_label-6_msk.nii.gz", 6),
    ],
)
def test_a_genuine_crop_gives_the_same_patch_as_ras_and_lps(
    test_data: Path, tmp_path: Path, image: str, mask: str, label: int
) -> None:
    folder = test_data / "nifti/tptbox_vertebra"
    patches = []
    for axes in ("PIR", "RAS", "LPS"):
        pair = []
        for name in (image, mask):
            voxels, affine = stored_as(
                np.asanyarray(nibabel.load(folder / name).dataobj), nibabel.load(folder / name).affine, axes
            )
            nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / f"{axes}_{name}")
            pair.append(tmp_path / f"{axes}_{name}")
        raw = read_volume(pair[0])
        assert directions(raw) == tuple(axes)
        volume, drawn = turned(raw, SAGITTAL), labels_on(raw, read_labels(pair[1]), SAGITTAL)
        centre = np.argwhere(drawn.voxels == label).mean(axis=0)
        grid = (centre, (1, 96, 96), (1.0, 1.0, 1.0))
        patches.append((sample(volume, *grid, outside=float(raw.voxels.min())), sample_mask(drawn, (label,), *grid)))
    for patch, drawn_mask in patches[1:]:
        assert (patch == patches[0][0]).all()
        assert (drawn_mask == patches[0][1]).all()
    assert patches[0][1][0, 48, 40]  # the vertebra's body lies in front of its centre of mass


def test_vertebral_bodies_of_a_genuine_ct_are_brighter_than_what_is_in_front_of_them(test_data: Path) -> None:
    """A body with its arch behind it: bone, and the spinal canal between, on the right-hand side of the slice."""
    folder = test_data / "nifti/tptbox_vertebra"
    raw = read_volume(folder / "sub-ct_label-22_ct.nii.gz")
    labels = read_labels(folder / "sub-ct_seg-subreg_label-22_msk.nii.gz")
    volume, parts = turned(raw, SAGITTAL), labels_on(raw, labels, SAGITTAL)
    assert volume.voxels[parts.voxels == 49].mean() > volume.voxels[parts.voxels == 0].mean() + 100
    body = np.argwhere(parts.voxels == 49).mean(axis=0)  # 49 and 50: vertebral body; 41: arch
    arch = np.argwhere(parts.voxels == 41).mean(axis=0)
    assert arch[2] > body[2] + 10
