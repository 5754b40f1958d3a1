"""Volumes made for tests, in the exact layouts of the sets, from arrays whose axes point right, front, head (RAS)."""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from nibabel import orientations

from cfbench.protocols import Context
from cfbench_files.dataset import FileDataset
from cfbench_volumes.spider import LABELS

ORIGIN = (-31.5, 12.25, 40.0)


def affine_of(spacing: Sequence[float], origin: Sequence[float] = ORIGIN) -> np.ndarray:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return affine


def stored_as(array: np.ndarray, affine: np.ndarray, axes: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the same volume with its axes stored otherwise."""
    change = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt(tuple(axes)))
    turned = orientations.apply_orientation(array, change)
    return np.ascontiguousarray(turned), affine @ orientations.inv_ornt_aff(change, array.shape)


def save(path: Path, array: np.ndarray, spacing: Sequence[float] = (1, 1, 1), axes: str = "RAS") -> Path:
    """Write a volume as NIfTI, or as MetaImage if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels, affine = stored_as(array, affine_of(spacing), axes)
    if path.name.endswith(".mha"):
        to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
        zooms = np.linalg.norm(to_lps[:3, :3], axis=0)
        image = SimpleITK.GetImageFromArray(voxels.T)
        image.SetSpacing(zooms.tolist())
        image.SetDirection((to_lps[:3, :3] / zooms).ravel().tolist())
        image.SetOrigin(to_lps[:3, 3].tolist())
        SimpleITK.WriteImage(image, str(path))
    else:
        nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def save_4d(path: Path, array: np.ndarray, spacing: Sequence[float] = (1, 1, 1)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine_of(spacing)), path)
    return path


def spine(levels: Sequence[int], spacing: Sequence[float] = (1, 1, 1), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a CT-like spine and its mask: a box per vertebra, 18 mm high and 30 deep, the first label at the top.

    Bone is 300 HU with noise; the spinous process behind it, and a bright rib on the right, tell front from back and
    left from right.
    """
    x, y, z = (int(size / step) for size, step in zip((60, 90, 30 * len(levels) + 20), spacing, strict=True))
    random = np.random.default_rng(seed)
    image = random.normal(40, 10, (x, y, z)).astype(np.int16)
    mask = np.zeros((x, y, z), np.uint8)
    for n, label in enumerate(levels):
        top = z - int((10 + 30 * n) / spacing[2])
        high = slice(top - int(18 / spacing[2]), top)
        body = (
            slice(int(15 / spacing[0]), int(45 / spacing[0])),
            slice(int(50 / spacing[1]), int(80 / spacing[1])),
            high,
        )
        process = (
            slice(int(27 / spacing[0]), int(33 / spacing[0])),
            slice(int(15 / spacing[1]), int(40 / spacing[1])),
            high,
        )
        for part in (body, process):
            image[part] += 300
            mask[part] = label
        image[int(50 / spacing[0]) :, int(60 / spacing[1]) : int(66 / spacing[1]), high] = 1500
    return image, mask


def body_centres(mask: np.ndarray) -> dict[int, np.ndarray]:
    """Return the middle of each vertebra's body, in voxels of the RAS array."""
    found = {}
    for label in np.unique(mask[mask > 0]):
        places = np.argwhere(mask == label)
        front = places[places[:, 1] >= mask.shape[1] // 2]
        found[int(label)] = (front.min(0) + front.max(0)) / 2
    return found


def save_centroids(path: Path, centres: dict[int, np.ndarray], shape: Sequence[int], axes: str = "PIR") -> Path:
    """Write a `_ctd.json`: positions in voxels of the grid as it would be stored in `axes`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, object]] = [{"direction": list(axes)}]
    for label, centre in centres.items():
        place = []
        for axis in axes:
            k = next(i for i, pair in enumerate(("RL", "AP", "SI")) if axis in pair)
            place.append(centre[k] if axis in "RAS" else shape[k] - 1 - centre[k])
        entries.append({"label": label, **dict(zip("XYZ", map(float, place), strict=True))})
    path.write_text(json.dumps(entries))
    return path


def save_scan(
    folder: Path,
    name: str,
    levels: Sequence[int],
    axes: str = "LPS",
    spacing: Sequence[float] = (1, 1, 1),
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Write one scan of VerSe: CT, mask and centroids, in its folders."""
    subject = name.split("_", maxsplit=1)[0]
    image, mask = spine(levels, spacing, seed)
    save(folder / "rawdata" / subject / f"{name}_ct.nii.gz", image, spacing, axes)
    save(folder / "derivatives" / subject / f"{name}_seg-vert_msk.nii.gz", mask, spacing, axes)
    target = folder / "derivatives" / subject / f"{name}_seg-subreg_ctd.json"
    save_centroids(target, body_centres(mask), mask.shape)
    return image, mask


def head(size: Sequence[int] = (60, 72, 40), seed: int = 0) -> np.ndarray:
    """Return an ellipsoid of about 100 in air (0), brighter to the right, darker to the front."""
    random = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in size), indexing="ij")
    inside = sum((g / 0.9) ** 2 for g in grid) < 1
    values = 100 + 30 * grid[0] - 20 * grid[1] + random.normal(0, 2, size)
    return np.where(inside, values, 0).astype(np.int16)


def tumour(size: Sequence[int], at: Sequence[int], labels: tuple[int, int, int]) -> np.ndarray:
    """Return nested boxes: edema around core around enhancing tumour, numbered as asked."""
    mask = np.zeros(tuple(size), np.uint8)
    for label, reach in zip(labels, (10, 6, 3), strict=True):
        mask[tuple(slice(max(c - reach, 0), c + reach) for c in at)] = label
    return mask


SPIDER_SPACING = (3.3, 0.6, 0.6)
GRADED = [column for column, _ in LABELS.values()]


def discs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a T2-like series with dark discs between vertebrae, lowest first, and its mask as the set labels it.

    Disc k is 200 + k, 24 mm wide and 9 mm high; vertebrae are 1 to 25, the canal behind them 100.
    """
    random = np.random.default_rng(seed)
    image = random.normal(300, 10, (9, 100, 60 * count + 40)).astype(np.int16)
    mask = np.zeros(image.shape, np.uint8)
    mask[3:6, 20:26] = 100
    image[3:6, 20:26] = 900
    for k in range(1, count + 1):
        low = 20 + 60 * (k - 1)
        mask[2:7, 35:75, low : low + 15] = 200 + k
        image[2:7, 35:75, low : low + 15] = 40
        mask[2:7, 35:75, low + 15 : low + 60] = k
    return image, mask


def save_tables(root: Path, gradings: list[dict[str, object]], subsets: dict[str, str]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with (root / "radiological_gradings.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["Patient", "IVD label", *GRADED], restval=0)
        writer.writeheader()
        writer.writerows(gradings)
    with (root / "overview.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["new_file_name", "num_vertebrae", "num_discs", "subset"])
        writer.writerows([name, 3, 2, subset] for name, subset in subsets.items())


BRATS_SIZE = (66, 72, 50)
BRATS_SPACING = (3.0, 3.0, 2.5)
BRATS_AT = (50, 40, 26)
#: Edema, core and enhancing tumour, as each release numbers them.
BRATS_NUMBERS = {"task01": (1, 2, 3), "2021": (2, 1, 4), "2023": (2, 1, 3)}


def save_task01(root: Path, count: int, flair: int = 0, labels: dict[str, str] | None = None) -> Path:
    """Write the Decathlon's Task01_BrainTumour: 4D images, and masks for its training cases."""
    folder = root / "Task01_BrainTumour"
    training = []
    for number in range(1, count + 1):
        name = f"BRATS_{number:03d}"
        volumes = np.stack([head(BRATS_SIZE, number) * (c + 1) for c in range(4)], axis=-1)
        volumes[..., flair] = head(BRATS_SIZE, number)
        volumes[tuple(slice(c - 10, c + 10) for c in BRATS_AT)][..., flair] += 150
        save_4d(folder / f"imagesTr/{name}.nii.gz", volumes, BRATS_SPACING)
        save(folder / f"labelsTr/{name}.nii.gz", tumour(BRATS_SIZE, BRATS_AT, BRATS_NUMBERS["task01"]), BRATS_SPACING)
        training.append({"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"})
    modalities = ["T1w", "t1gd", "T2w"]
    modalities.insert(flair, "FLAIR")
    facts = {
        "modality": dict(zip("0123", modalities, strict=True)),
        "labels": labels or {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "training": training,
        "test": ["./imagesTs/BRATS_485.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(facts))
    return folder


def save_release(root: Path, name: str, release: str, axes: str = "LPS", mask_axes: str = "LPS") -> None:
    """Write one case of a release, in a folder of its own."""
    image = head(BRATS_SIZE)
    image[tuple(slice(c - 10, c + 10) for c in BRATS_AT)] += 150
    flair, seg = ("-t2f", "-seg") if release == "2023" else ("_flair", "_seg")
    save(root / name / f"{name}{flair}.nii.gz", image, BRATS_SPACING, axes)
    save(
        root / name / f"{name}{seg}.nii.gz",
        tumour(BRATS_SIZE, BRATS_AT, BRATS_NUMBERS[release]),
        BRATS_SPACING,
        mask_axes,
    )


@contextmanager
def prepared(dataset: FileDataset, folder: Path) -> Iterator[FileDataset]:
    """Prepare a dataset below a folder, and load it."""
    out, scratch = folder / "prepared", folder / "scratch"
    out.mkdir()
    scratch.mkdir()
    dataset.prepare(out, Context(seed=0, folder=scratch))
    dataset.load(out)
    yield dataset


def make_verse(root: Path) -> Path:
    """Write a VerSe folder: four scans of two vertebrae, and a table of grades."""
    for number, split in enumerate(("training", "training", "validation", "test")):
        save_scan(root / f"dataset-verse19{split}", f"sub-verse{number:03d}", (20, 21), seed=number)
    rows = "".join(f"{number},0,{number % 4}\n" for number in range(4))
    (root / "fracture_grades.csv").write_text("verse_ID,L1_fx-g,L2_fx-g\n" + rows)
    return root


def make_spider(root: Path) -> Path:
    """Write a SPIDER folder: seven patients, one disc each."""
    names = {f"{number}_t2": "training" if number < 5 else "validation" for number in range(1, 8)}
    for seed, name in enumerate(names):
        image, mask = discs(1, seed)
        save(root / f"images/{name}.mha", image, (3.3, 0.6, 0.6))
        save(root / f"masks/{name}.mha", mask, (3.3, 0.6, 0.6))
    rows = [{"Patient": number, "IVD label": 1, "Pfirrman grade": number % 5 + 1} for number in range(1, 8)]
    save_tables(root, rows, names)
    return root


def make_adni(root: Path, count: int = 8) -> Path:
    """Write a folder of heads, of two phases and two groups."""
    rows = ["subject,group,phase,file"]
    for number in range(count):
        name = f"{number:03d}.nii.gz"
        save(root / name, head((20, 24, 20), number), (8, 8, 8))
        group, phase = "AD" if number % 2 else "CN", "ADNI2" if 8 * number < 3 * count else "ADNI1"
        rows.append(f"{number:03d},{group},{phase},{name}")
    (root / "subjects.csv").write_text("\n".join(rows) + "\n")
    return root
