"""Prepared cases, read: arrays are mapped into memory, and only the rows that are asked for are touched."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64, Shaped

from cfbench.errors import DataError
from cfbench.types import Batch, Images, Masks, Values
from cfbench_files.listing import LeftOut
from cfbench_files.prepared import SCALES, file_of


class Prepared:
    """A folder that `cfbench_files.prepared.prepare` has written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._facts: dict[str, Any] = json.loads((folder / "prepared.json").read_text(encoding="utf-8"))
        self.left_out = tuple(LeftOut(name, why) for name, why in self._facts["left"])
        #: Digest of the names and bytes of all source files.
        self.content: str = self._facts["content"]

    @cached_property
    def index(self) -> Mapping[str, Shaped[np.ndarray, " n"]]:
        """Return the columns of the index: id, patient, split, text, where, `label:<name>`, `mask:<name>`."""
        import pyarrow.parquet as pq

        table = pq.read_table(self._folder / "cases.parquet")
        return {name: table.column(name).to_numpy() for name in table.column_names}

    def array(self, name: str = "") -> Shaped[np.ndarray, "rows *shape"]:
        """Return all images (`""`) or all masks of a name, mapped."""
        shape = tuple(self._facts["shape"])
        rows = self._facts["rows"][name]
        kind, one = (np.dtype(bool), shape[1:]) if name else (np.dtype(self._facts["dtype"]), shape)
        if not rows:
            return np.zeros((0, *one), dtype=kind)
        return np.memmap(self._folder / file_of(name), dtype=kind, mode="r", shape=(rows, *one))

    def cases(self, split: str) -> "PreparedCases":
        """Return the cases of a split, in the order in which they were prepared.

        Raises:
            DataError: it has none.
        """
        rows = np.flatnonzero(self.index["split"] == split)
        if not len(rows):
            raise DataError(f"there is no case in the {split} split")
        return PreparedCases(self, rows)


class PreparedCases:
    """Some rows of prepared cases.

    Args:
        prepared: the folder.
        rows: positions in it.
    """

    def __init__(self, prepared: Prepared, rows: Int64[np.ndarray, " n"]) -> None:
        index = prepared.index
        self.ids = tuple(index["id"][rows].tolist())
        self.patients = tuple(index["patient"][rows].tolist())
        self.labels: Mapping[str, Values] = MappingProxyType(
            {name[6:]: _values(column[rows]) for name, column in index.items() if name.startswith("label:")}
        )
        self._rows = rows
        self._text = index["text"][rows].tolist() if any(index["text"]) else None
        self._images = prepared.array()
        self._masks = {
            name[5:]: (prepared.array(name[5:]), column[rows])
            for name, column in index.items()
            if name.startswith("mask:")
        }

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.ids)

    def batch(self, index: Sequence[int]) -> Batch:
        """Return the cases at these positions: images in [0, 1]; a mask that a case does not have is empty."""
        chosen = np.asarray(index, dtype=np.int64)
        at = torch.from_numpy(chosen)
        return Batch(
            ids=tuple(self.ids[i] for i in chosen),
            patients=tuple(self.patients[i] for i in chosen),
            x=to_images(self._images[self._rows[chosen]]),
            labels={name: values[at] for name, values in self.labels.items()},
            masks={name: _masks(stored, rows[chosen]) for name, (stored, rows) in self._masks.items()},
            text=tuple(self._text[i] for i in chosen) if self._text else None,
        )


def to_images(stored: Shaped[np.ndarray, "b c *space"]) -> Images:
    """Return stored pixels as float32 in [0, 1]."""
    x: Images = torch.from_numpy(stored.astype(np.float32))
    scale = SCALES[stored.dtype.name]
    return x if scale == 1 else x.div_(scale)


def _masks(stored: Shaped[np.ndarray, "rows *space"], rows: Int64[np.ndarray, " b"]) -> Masks:
    found = np.zeros((len(rows), 1, *stored.shape[1:]), dtype=bool)
    there = rows >= 0
    found[there, 0] = stored[rows[there]]
    return torch.from_numpy(found)


def _values(column: Float64[np.ndarray, " n"]) -> Values:
    values: Values = torch.from_numpy(column.astype(np.float32))
    return values
