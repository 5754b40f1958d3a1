"""Which split a case is in: by a column, or by a hash of its patient. A patient is never in two."""

from collections.abc import Iterable
from hashlib import sha256

from cfbench.errors import DataError

SPLITS = ("train", "valid", "test")
#: What data sets call them.
_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validate": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}


def named_split(name: str, where: str) -> str:
    """Return `train`, `valid` or `test` for what a table calls it (`Training`, `val`, `validate`, ...).

    Raises:
        DataError: it is none of these; `where` names the row.
    """
    split = _NAMES.get(name.strip().lower())
    if split is None:
        raise DataError(f"{where}: there is no split {name!r}; expected one of {', '.join(_NAMES)}")
    return split


def hashed_split(patient: str, valid: float, test: float, seed: int = 0) -> str:
    """Return the split of a patient, from the patient alone: cases that are added or left out move nobody else.

    Args:
        patient: their id.
        valid: share of patients for validation.
        test: share of patients for testing; the rest is `train`.
        seed: another one draws another split.

    Raises:
        DataError: impossible shares.
    """
    if min(valid, test) < 0 or valid + test >= 1:
        raise DataError(
            f"shares valid={valid:g} and test={test:g}: expected two shares from 0 that leave some to train"
        )
    drawn = int.from_bytes(sha256(f"split {seed} {patient}".encode()).digest()[:6], "big") / 2**48
    return "test" if drawn < test else "valid" if drawn < test + valid else "train"


def check_patients(rows: Iterable[tuple[str, str, str]]) -> None:
    """Raise DataError if a patient is in two splits. `rows`: patient, split, where (the file and row, for people)."""
    home: dict[str, tuple[str, str]] = {}
    for patient, split, where in rows:
        known, first = home.setdefault(patient, (split, where))
        if known != split:
            raise DataError(
                f"{where}: patient {patient!r} is in split {split}, but in {known} by {first}; a patient may be in one "
                "split only: correct the table, or leave the split to cfbench (no split column)"
            )
