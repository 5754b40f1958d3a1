"""What the adapters share before any volume is opened: their common parameters, and what lies in their folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cfbench.errors import DataError
from cfbench.specs import param
from cfbench_files.splits import hashed_split
from cfbench_files.table import Row


@dataclass(frozen=True)
class FolderParams:
    """Where a set lies, how strict its reading is, and shares of patients, drawn by a hash of the patient."""

    root: str = param("", "folder that you have downloaded; nothing is fetched, and its files are not copied")
    strict: bool = param(False, "whether one bad case fails everything; otherwise it is left out and reported")
    valid: float = param(0.1, "share of patients for validation, where the files do not say")
    test: float = param(0.2, "share of patients for testing, where the files do not say")
    seed: int = param(0, "another number draws other patients")

    def drawn_split(self, patient: str) -> str:
        """Return the split of a patient by its hash."""
        return hashed_split(patient, self.valid, self.test, self.seed)

    def drawn_from_training(self, patient: str) -> str:
        """Return train or valid for a patient whom the owner's split puts into training, by its hash."""
        return hashed_split(patient, self.valid, 0.0, self.seed)


def found(root: Path, *patterns: str) -> list[Path]:
    """Return the files below a folder that match, sorted; not those that macOS leaves beside them (`._name`)."""
    paths = {path for pattern in patterns for path in root.glob(pattern) if not path.name.startswith(".")}
    return sorted(path for path in paths if path.is_file())


def once(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of a table without those that repeat an earlier one in every column."""
    first: dict[tuple[tuple[str, str], ...], Row] = {}
    for row in rows:
        first.setdefault(tuple(row.cells.items()), row)
    return list(first.values())


def pair(values: tuple[float, ...], name: str) -> tuple[float, float]:
    """Return two ascending numbers of a parameter. Raises DataError for anything else."""
    if len(values) != 2 or not values[0] < values[1]:
        raise DataError(f"{name} is {list(values)}: expected two numbers, the lower one first")
    return values[0], values[1]
