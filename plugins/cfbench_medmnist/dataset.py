"""Reads the official MedMNIST files."""

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from cfbench.assets import locate, verify
from cfbench.errors import DataError
from cfbench.specs import Asset
from cfbench.types import Batch, Images, Values
from cfbench_medmnist.table import ADRENAL, BREAST, NODULE, PNEUMONIA, RETINA, SYNAPSE, VESSEL, Archive, Params

#: Split to its name in the files.
SPLITS = {"train": "train", "valid": "val", "test": "test"}
#: The same where the official validation images are tested on: test images then serve for validation.
SWAPPED = {"train": "train", "valid": "test", "test": "valid"}
#: As the file has them: channels last, and none for grey images.
Stored = UInt8[np.ndarray, "n ..."]


class MedMNISTCases:
    """The images of one split, in the file's order. The image is the unit: patients are the ids.

    Args:
        split: `"train"`, `"valid"` or `"test"`, the first part of the ids.
        images: pixels 0 to 255 as the file has them.
        channels: 3 if the last axis is RGB; 1 if there is no such axis.
        labels: label name to one value per image.
    """

    def __init__(self, split: str, images: Stored, channels: int, labels: Mapping[str, Values]) -> None:
        self.ids = tuple(f"{split}-{i:04d}" for i in range(len(images)))
        self.patients = self.ids
        self.labels = MappingProxyType(dict(labels))
        self._images = images
        self._channels = channels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)

    def batch(self, index: Sequence[int]) -> Batch:
        """Return the images at these positions, in [0, 1]."""
        chosen = np.asarray(index, dtype=np.int64)
        ids = tuple(self.ids[i] for i in chosen)
        labels = {name: values[torch.from_numpy(chosen)] for name, values in self.labels.items()}
        return Batch(ids=ids, patients=ids, x=to_images(self._images[chosen], self._channels), labels=labels)


class MedMNIST:
    """One MedMNIST set in one size.

    Args:
        archive: the set.
        params: size and place of the file.

    Raises:
        DataError: the size is not published.
    """

    def __init__(self, archive: Archive, params: Params) -> None:
        self._archive = archive
        self._size = params.size
        self._asset = archive.asset(params)
        self._swapped = params.test == "val"

    def cases(self, split: str) -> MedMNISTCases:
        """Return the cases of `"train"`, `"valid"` or `"test"`: the official split (`test: val` swaps the last two).

        Raises:
            DataError: the file is missing, or what is in it is not as published.
            ChecksumError: it is not the official file.
        """
        if split not in SPLITS:
            raise DataError(f"{self._archive.name}: there is no split {split!r}; expected one of {', '.join(SPLITS)}")
        split, path = SWAPPED[split] if self._swapped else split, self._path()
        images, labels = _read(path, path.stat().st_mtime_ns, self._asset.checksum, SPLITS[split])
        self._check_images(images, split)
        return MedMNISTCases(split, images, self._archive.channels, {self._archive.label: self._values(labels, split)})

    def report(self) -> Sequence[str]:
        """Return the counts that a paper reports beside those of the file. Raises DataError without the file."""
        reported = self._archive.reported
        if not reported:
            return ["checksum and counts as published"]
        ours = Counter(value for split in self._archive.reported_of for value in self._official(split).tolist())
        pairs = ", ".join(f"{value:g}: {ours[value]:,} (paper {count:,})" for value, count in reported.items())
        parts = " and ".join(SPLITS[split] for split in self._archive.reported_of)
        verdict = "as published" if ours == reported else "not as published"
        return [
            "checksum and counts as published",
            f"{self._archive.label}, official {parts}: {pairs} [{self._archive.reported_by}]; {verdict}",
        ]

    def _official(self, split: str) -> Values:
        """Return the labels of a split as the file has it, whichever is tested on."""
        return self.cases(SWAPPED[split] if self._swapped else split).labels[self._archive.label]

    def _path(self) -> Path:
        path = locate(self._asset)
        if not path.is_file():
            advice = _advice(self._asset, self._archive.name, self._size)
            raise DataError(f"{self._asset.name} is not at {path}: {advice}")
        return path

    def _check_images(self, images: np.ndarray, split: str) -> None:
        colour = (3,) if self._archive.channels == 3 else ()
        shape = (self._count(split), *(self._size,) * self._archive.dims, *colour)
        _expect(locate(self._asset), f"{SPLITS[split]}_images", images, shape)

    def _values(self, codes: np.ndarray, split: str) -> Values:
        """Return the label's value for each code in the file."""
        field = f"{SPLITS[split]}_labels"
        _expect(locate(self._asset), field, codes, (self._count(split), 1))
        values = np.asarray(self._archive.values, dtype=np.float32)
        if codes.max() >= len(values):
            raise DataError(
                f"{locate(self._asset)}, {field}: expected codes 0 to {len(values) - 1}, found {codes.max()}: "
                "it is not the official file"
            )
        return torch.from_numpy(values[codes[:, 0]])

    def _count(self, split: str) -> int:
        return self._archive.counts[list(SPLITS).index(split)]


def to_images(pixels: Stored, channels: int) -> Images:
    """Return pixels 0 to 255 as images in [0, 1], channels first: `[b, c, h, w]` or `[b, 1, d, h, w]`."""
    x: Float32[torch.Tensor, "b ..."] = torch.from_numpy(pixels).float() / 255
    return x.movedim(-1, 1).contiguous() if channels == 3 else x.unsqueeze(1)


@lru_cache(maxsize=6)
def _read(path: Path, modified: int, checksum: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images and label codes of one part of the file, read-only: every caller gets the same arrays."""
    _verified(path, modified, checksum)
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels = file[f"{part}_images"], file[f"{part}_labels"]
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as the official file: {error}") from error
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


@lru_cache(maxsize=64)
def _verified(path: Path, modified: int, checksum: str) -> None:  # noqa: ARG001 - a file that changes is read again
    """Check the file once per process and state of the file."""
    verify(path, checksum)


def _expect(path: Path, field: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.dtype != np.uint8 or array.shape != shape:
        raise DataError(
            f"{path}, {field}: expected uint8 {list(shape)}, found {array.dtype} {list(array.shape)}: "
            "it is not the official file"
        )


def _advice(asset: Asset, name: str, size: int) -> str:
    by_hand, command = f"put the file of {asset.url} there", f"type `cfbench data fetch {name} size={size}`"
    if asset.root is not None:
        return f"{by_hand}, or leave `root` empty and {command}"
    return f"{command}, or {by_hand}, or set `root` to a folder that has it"


retinamnist = partial(MedMNIST, RETINA)
pneumoniamnist = partial(MedMNIST, PNEUMONIA)
breastmnist = partial(MedMNIST, BREAST)
nodulemnist3d = partial(MedMNIST, NODULE)
adrenalmnist3d = partial(MedMNIST, ADRENAL)
vesselmnist3d = partial(MedMNIST, VESSEL)
synapsemnist3d = partial(MedMNIST, SYNAPSE)
