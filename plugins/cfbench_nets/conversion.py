"""Published checkpoints as weights of our networks: every tensor has one place, and what does not fit is named."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

import torch
from torch import Tensor

from cfbench.errors import DataError, NotFiniteError
from cfbench_nets.archive import Archive
from cfbench_nets.pickled import StoredTensor

#: Findings that an error lists.
_LISTED = 40


@dataclass(frozen=True)
class Place:
    """Where a tensor of theirs goes."""

    ours: str
    #: Its shape over there, and here.
    there: tuple[int, ...]
    here: tuple[int, ...]


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote."""

    folder: Path
    #: SHA-256 of the weights in it.
    sha256: str
    #: Numbers that are learnt.
    parameters: int
    provenance: Mapping[str, object]


def misfits(
    stored: Mapping[str, StoredTensor], places: Mapping[str, Place], ignored: Callable[[str], bool]
) -> list[str]:
    """Return a phrase for every tensor that is missing, of another shape, or left over and not ignored."""
    wrong = [f"{name} {place.there} is missing" for name, place in places.items() if name not in stored]
    wrong += [
        f"{name} is {stored[name].shape}, not {place.there}"
        for name, place in places.items()
        if name in stored and stored[name].shape != place.there
    ]
    return wrong + [
        f"{name} {value.shape} has no place"
        for name, value in stored.items()
        if name not in places and not ignored(name)
    ]


def check_fit(what: str, wrong: Sequence[str]) -> None:
    """Raise DataError that begins with `what` and lists the misfits, if there are any."""
    if wrong:
        more = [f"and {len(wrong) - _LISTED} more"] if len(wrong) > _LISTED else []
        raise DataError(f"{what}:\n  " + "\n  ".join([*wrong[:_LISTED], *more]))


def read_weight(archive: Archive, name: str, stored: StoredTensor, place: Place) -> Tensor:
    """Return a tensor in our shape. Raises NotFiniteError if it holds NaN or infinity."""
    value = archive.read(name, stored)
    if not torch.isfinite(torch.stack(value.aminmax())).all():
        raise NotFiniteError(f"{archive.path}: tensor {name} holds NaN or infinity; the training had failed")
    return value.reshape(place.here)


def refuse_existing(out: Path) -> None:
    """Raise DataError if `out` exists."""
    if out.exists():
        raise DataError(f"{out} exists already: choose another folder, or remove it")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes `out` at the end: whole, or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
