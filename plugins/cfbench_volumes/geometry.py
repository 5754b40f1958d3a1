"""Orientation, and sampling on a grid in millimetres.

Axes are named by where they point: R or L, A or P, S or I. Turning a volume flips and permutes its stored axes and
interpolates nothing, so the same case stored as RAS and as LPS becomes the same array, to the bit. Sampling goes along
these axes, not along the scanner's: an oblique sagittal series stays in its own planes, as with MONAI's `Orientation`
and `Spacing`, which the papers used.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Float64, Shaped

from cfbench.errors import DataError
from cfbench_volumes.volume import Volume

#: A sagittal slice as radiologists look at it: head up, face to the left; the first axis leaves the page.
SAGITTAL = ("R", "I", "P")
#: An axial slice as radiologists look at it: front up, the patient's left on the right; the first axis goes up.
AXIAL = ("S", "P", "L")
CORONAL = ("A", "I", "L")
PLANES = {"sagittal": SAGITTAL, "axial": AXIAL, "coronal": CORONAL}
_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


def turned(volume: Volume, axes: Sequence[str]) -> Volume:
    """Return a view of the volume whose three axes point (within 45 degrees) where `axes` say."""
    from nibabel import orientations

    now = orientations.io_orientation(volume.affine)
    change = orientations.ornt_transform(now, orientations.axcodes2ornt(tuple(axes)))
    voxels = orientations.apply_orientation(volume.voxels, change)
    return Volume(voxels, volume.affine @ orientations.inv_ornt_aff(change, volume.voxels.shape), volume.where)


def directions(volume: Volume) -> tuple[str, str, str]:
    """Return where the stored axes point, such as `("P", "I", "R")`."""
    from nibabel import orientations

    x, y, z = orientations.aff2axcodes(volume.affine)
    return x, y, z


def labels_on(image: Volume, labels: Volume, axes: Sequence[str], grid: str = "header") -> Volume:
    """Return labels turned to `axes`, on the grid of the image turned to `axes`.

    Args:
        image: as its file has it.
        labels: as their file has them.
        axes: where the axes of the result point.
        grid: `"header"`: the labels' affine must put them where the image is (see `same_place`); `"image"`: voxels are
            taken to match index by index, whatever the labels' header says.

    Raises:
        DataError: another shape or place than the image.
    """
    if grid == "image":
        labels = Volume(labels.voxels, image.affine, labels.where)
        _check_shape(labels, image)
    found, onto = turned(labels, axes), turned(image, axes)
    same_place(found, onto)
    return found


def same_place(labels: Volume, image: Volume) -> None:
    """Check that two volumes, turned to the same axes, cover each other voxel by voxel.

    Raises:
        DataError: another shape, or a corner that lies more than half a voxel off.
    """
    _check_shape(labels, image)
    ends = np.asarray(image.voxels.shape) - 1
    corners = np.array([[*np.where(bits, ends, 0), 1] for bits in np.ndindex(2, 2, 2)]).T
    off = np.abs((labels.affine - image.affine) @ corners)[:3].max()
    if off > image.spacing.min() / 2:
        raise DataError(
            f"{labels.where}: by its header the mask lies up to {off:.1f} mm off the image {image.where}; one of the "
            "two headers is wrong. If the voxels do match index by index, say `mask_grid: image`"
        )


def _check_shape(labels: Volume, image: Volume) -> None:
    if labels.voxels.shape != image.voxels.shape:
        raise DataError(
            f"{labels.where}: the mask has shape {list(labels.voxels.shape)}, the image {image.where} "
            f"{list(image.voxels.shape)}; expected the same"
        )


def voxel_of(point: Sequence[float], axes: Sequence[str], volume: Volume) -> Float64[np.ndarray, "3"]:
    """Return the voxel position, in a volume, of a point given in voxels along other axes of the same grid.

    Args:
        point: voxel position (0 = centre of the first voxel) in the volume turned to `axes`.
        axes: where these axes point, such as `("P", "I", "R")`.
        volume: in whatever orientation.

    Raises:
        DataError: `axes` are not one of R/L, A/P and S/I each.
    """
    if len(axes) != 3 or len({frozenset((a, _OPPOSITE.get(a, ""))) for a in axes}) != 3 or set(axes) - set(_OPPOSITE):
        raise DataError(f"{volume.where}: axes {list(axes)}; expected one of R or L, A or P, and S or I each")
    place = np.empty(3)
    for axis, towards in enumerate(directions(volume)):
        last = volume.voxels.shape[axis] - 1
        if towards in axes:
            place[axis] = point[list(axes).index(towards)]
        else:
            place[axis] = last - point[list(axes).index(_OPPOSITE[towards])]
    return place


def sample(
    volume: Volume,
    centre: Float64[np.ndarray, "3"],
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    *,
    outside: float,
    antialias: bool = False,
) -> Float32[np.ndarray, "a b c"]:
    """Return values on a grid around a voxel position, interpolated linearly along each axis.

    Args:
        volume: the volume.
        centre: voxel position of the grid's middle.
        shape: points along each axis.
        spacing: millimetres between them.
        outside: value of points more than half a voxel outside.
        antialias: average over the width of an output voxel where that is coarser than the volume's.
    """
    parts, matrices, inside = [], [], []
    for axis in range(3):
        step = spacing[axis] / volume.spacing[axis]
        at = centre[axis] + step * (np.arange(shape[axis]) - (shape[axis] - 1) / 2)
        matrix, first = _weights(at, volume.voxels.shape[axis], max(step, 1.0) if antialias else 1.0)
        parts.append(slice(first, first + matrix.shape[1]))
        matrices.append(matrix)
        inside.append((at >= -0.5) & (at <= volume.voxels.shape[axis] - 0.5))
    values = np.ascontiguousarray(volume.voxels[tuple(parts)], dtype=np.float32)  # sums do not depend on strides
    # The axis that shrinks most goes first: less is left to do.
    for axis in sorted(range(3), key=lambda a: matrices[a].shape[0] / matrices[a].shape[1]):
        values = np.moveaxis(np.tensordot(matrices[axis], values, axes=(1, axis)), 0, axis)
    there = inside[0][:, None, None] & inside[1][:, None] & inside[2]
    return np.where(there, values, np.float32(outside)).astype(np.float32)


def sample_mask(
    labels: Volume,
    wanted: Sequence[int],
    centre: Float64[np.ndarray, "3"],
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
) -> Bool[np.ndarray, "a b c"]:
    """Return where any of the wanted labels is, on a grid as of `sample`: their interpolated share is at least half."""
    ends = np.asarray(labels.voxels.shape) - 1
    reach = np.asarray(shape) * np.asarray(spacing) / labels.spacing / 2 + 2
    low = np.clip(np.floor(centre - reach).astype(int), 0, ends)
    high = np.clip(np.ceil(centre + reach).astype(int), 0, ends) + 1
    near = labels.voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    there = Volume(np.isin(near, wanted).astype(np.uint8), labels.affine, labels.where)
    return sample(there, centre - low, shape, spacing, outside=0.0) >= 0.5 - 1e-6


def _weights(at: Float64[np.ndarray, " n"], size: int, width: float) -> tuple[Float32[np.ndarray, "n m"], int]:
    """Return the weights of m neighbouring input voxels in n outputs, and the first of these voxels.

    A triangle of half-width `width` voxels stands over each position: 1 is linear interpolation.
    """
    at = np.clip(at, 0, size - 1)
    first = max(int(np.floor(at.min() - width)), 0)
    last = min(int(np.ceil(at.max() + width)), size - 1)
    distance = np.abs(np.arange(first, last + 1)[None] - at[:, None])
    weights = np.maximum(1 - distance / width, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), first


def middle(volume: Volume) -> Float64[np.ndarray, "3"]:
    """Return the voxel position of a volume's middle."""
    return (np.asarray(volume.voxels.shape, dtype=np.float64) - 1) / 2


def bounds(mask: Bool[np.ndarray, "x y z"]) -> tuple[Shaped[np.ndarray, "3"], Shaped[np.ndarray, "3"]]:
    """Return the first and the last voxel of a mask along each axis; it must not be empty."""
    ends = [np.flatnonzero(mask.any(axis=tuple(b for b in range(3) if b != axis))) for axis in range(3)]
    return np.array([e[0] for e in ends]), np.array([e[-1] for e in ends])
