"""Pictures as prepared cases: what every set of two-dimensional images in files has in common."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cfbench_files.cases import Prepared
from cfbench_files.dataset import FileDataset
from cfbench_files.images import Geometry, check_window, read_image, read_mask, to_stored
from cfbench_files.listing import Listing, Picture
from cfbench_files.prepared import Case, Layout


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the files of a set become its images."""

    geometry: Geometry
    channels: int = 1
    #: Of the stored pixels: 8 for sets that have no more.
    bits: Literal[8, 16] = 16
    #: Values that become 0 and 1; none = the whole range of the file's type.
    window: tuple[float, ...] = ()
    #: Mask to how it becomes smaller (see `read_mask`).
    rules: Mapping[str, Literal["any", "half"]]
    #: Whether a mask may have another resolution than its image.
    scaled: bool = False

    def layout(self, labels: Sequence[str]) -> Layout:
        """Return what every prepared case is like."""
        return Layout(
            shape=(self.channels, self.geometry.size, self.geometry.size),
            dtype=f"uint{self.bits}",
            masks=tuple(self.rules),
            labels=tuple(labels),
        )

    def read(self, picture: Picture) -> Iterator[Case]:
        """Read an image and its masks. Raises DataError or NotFiniteError naming file and row."""
        where = picture.where
        read = read_image(picture.path, self.channels, where, around=self.geometry.size)
        image = to_stored(read, self.geometry, where, self.window, inverted=picture.inverted, bits=self.bits)
        digests, masks = {picture.path.name: read.digest}, {}
        for name, path in picture.masks.items():
            masks[name], digests[path.name] = read_mask(
                path, self.geometry, read.size, where, self.rules[name], scaled=self.scaled
            )
        yield Case(
            id=picture.name,
            patient=picture.patient,
            split=picture.split,
            labels=picture.labels,
            image=image,
            masks=masks,
            text=picture.text,
            where=where,
            digests=digests,
        )


def picture_dataset(
    name: str,
    listing: Callable[[], Listing],
    reading: Reading,
    labels: Sequence[str],
    *,
    strict: bool,
    notes: Callable[[Prepared], Sequence[str]] = lambda _: (),
) -> FileDataset:
    """Return the dataset of pictures that `listing` finds.

    Args:
        name: as in the registry.
        listing: gives `Picture`s.
        reading: size, window, masks.
        labels: the names that every picture's labels have.
        strict: whether one bad case fails all.
        notes: see `FileDataset`.

    Raises:
        DataError: an impossible window.
    """
    check_window(reading.window)
    return FileDataset(name, listing, reading.read, reading.layout(labels), strict=strict, notes=notes)


def counted(prepared: Prepared, label: str) -> Mapping[float, int]:
    """Return how many cases of all splits have each value of a label; missing ones do not count."""
    values = prepared.index[f"label:{label}"]
    found, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def beside(prepared: Prepared, label: str, published: Mapping[float, int], source: str, why: str) -> str:
    """Return one line: the counts of a label beside those that a paper reports, and why they may differ."""
    ours = counted(prepared, label)
    pairs = ", ".join(f"{value:g}: {ours.get(value, 0):,} (paper {number:,})" for value, number in published.items())
    differ = any(ours.get(value, 0) != number for value, number in published.items())
    return f"{label}: {pairs} [{source}]" + (f"; {why}" if differ and why else "; as published" if not differ else "")
