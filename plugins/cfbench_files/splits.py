"""Which split a case is in: by a column, or by a hash of its patient. A patient is never in two."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Protocol, TypeVar, runtime_checkable

from cfbench.errors import DataError
from cfbench_files.listing import LeftOut

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


@runtime_checkable
class _Placed(Protocol):
    """A case that a table places in a split."""

    @property
    def name(self) -> str: ...
    @property
    def patient(self) -> str: ...
    @property
    def split(self) -> str: ...
    @property
    def where(self) -> str: ...


Placed = TypeVar("Placed", bound=_Placed)


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


def whole_patients(cases: Iterable[Placed], left: Sequence[LeftOut] = ()) -> tuple[list[Placed], list[LeftOut]]:
    """Leave out every case of a patient who is in two splits: which one is right, nobody knows.

    Args:
        cases: in the order of their table.
        left: what has been left out before.

    Returns:
        The cases of all other patients, and what is left out by now, with both rows.
    """
    found = list(cases)
    first: dict[str, Placed] = {}
    torn: dict[str, str] = {}
    for case in found:
        known = first.setdefault(case.patient, case)
        if known.split != case.split:
            torn.setdefault(
                case.patient,
                f"{case.where}: patient {case.patient!r} is in split {case.split}, but in {known.split} by "
                f"{known.where}; a patient may be in one split only: correct the table, or leave the split to cfbench",
            )
    out = [LeftOut(case.name, torn[case.patient]) for case in found if case.patient in torn]
    return [case for case in found if case.patient not in torn], [*left, *out]
