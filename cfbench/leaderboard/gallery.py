"""The gallery of a run, regrouped: one case at a time, all methods side by side, under every target asked for."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cfbench.errors import StoreError
from cfbench.leaderboard.png import Png, RefusedImageError, read_png
from cfbench.places import store_folder

Picture = Png | str
#: Rows of a case, in order; what else a run stored comes below them.
ROLES = ("reconstruction", "counterfactual", "difference", "attribution")
#: Pictures of the case itself, beside the row that they are to be compared with; masks stand beside the attribution.
REFERENCES: Mapping[str, str] = {"reconstruction": "input", "counterfactual": "truth", "difference": "exact difference"}
_OF_CASE = ("input",)
_OF_TARGET = ("truth", "exact difference")
MASK = " mask"


class Method(NamedTuple):
    """Who answers."""

    generator: str | None
    attribution: str | None
    seed: int

    @property
    def label(self) -> str:
        """Return its name, such as `dae / flip`."""
        name = " / ".join(part for part in (self.generator, self.attribution) if part) or "data"
        return f"{name}, seed {self.seed}" if self.seed else name


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One method's answer to a case under a target."""

    status: str
    #: Role to picture, or to the sentence that says why it is not shown.
    images: Mapping[str, Picture]
    numbers: Mapping[str, object]


@dataclass(kw_only=True)
class Asked:
    """A case under one target: what the truth is, and what the methods answer."""

    target: float | None
    #: Whether the target lies beyond the task's scale.
    extrapolated: bool = False
    #: `truth` and `exact difference`, where they are known.
    images: dict[str, Picture] = field(default_factory=dict)
    answers: dict[Method, Answer] = field(default_factory=dict)


@dataclass(kw_only=True)
class Case:
    """One case."""

    dataset: str
    task: str | None
    id: str
    patient: str | None
    grade: float | None
    #: `input` and masks, as far as they are known.
    images: dict[str, Picture] = field(default_factory=dict)
    asked: dict[float | None, Asked] = field(default_factory=dict)

    @property
    def targets(self) -> list[Asked]:
        """Return what was asked, in the order of the targets."""
        return [self.asked[t] for t in sorted(self.asked, key=lambda t: (t is not None, t or 0.0))]

    @property
    def methods(self) -> list[Method]:
        """Return who answered, under any target."""
        return list(dict.fromkeys(method for asked in self.asked.values() for method in asked.answers))


@dataclass(frozen=True)
class Gallery:
    """What may be shown of a run, and the datasets of which nothing may."""

    cases: tuple[Case, ...] = ()
    withheld: tuple[str, ...] = ()
    #: Datasets that may not be published, and are shown since their owner says so.
    private: tuple[str, ...] = ()

    @property
    def pictures(self) -> Iterable[Png]:
        """Yield every picture."""
        for case in self.cases:
            found = [case.images] + [asked.images for asked in case.asked.values()]
            found += [dict(a.images) for asked in case.asked.values() for a in asked.answers.values()]
            yield from (picture for images in found for picture in images.values() if isinstance(picture, Png))


def read_gallery(run: Path, closed: Iterable[str] = (), *, private: bool = False) -> Gallery:
    """Read `run/gallery/index.json`; no file, no cases. Raises StoreError if it is not the index of a gallery.

    A cell is shown only if it says `"public": true` and its dataset is not among `closed`, or if `private` says that
    the pages are for their owner alone; such pictures were not copied into the run, and are read from the store.
    """
    folder, shut = run / "gallery", frozenset(closed)
    index = folder / "index.json"
    if not index.is_file():
        return Gallery()
    try:
        cells = json.loads(index.read_text(encoding="utf-8"))["cells"]
        hidden = [c for c in cells if c.get("public") is not True or c["dataset"] in shut]
        names = tuple(sorted({str(c["dataset"]) for c in hidden}))
        shown = cells if private else [c for c in cells if c not in hidden]
        found = tuple(_cases(folder, shown))
        return Gallery(found, () if private else names, names if private else ())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(
            f"{index}: not the index of a gallery ({error!r}); run the suite again to rewrite it"
        ) from error


def _cases(folder: Path, cells: Iterable[Mapping[str, Any]]) -> Iterable[Case]:
    cases: dict[tuple[str, ...], Case] = {}
    for cell in cells:
        place = store_folder() if cell.get("in_store") is True else folder
        method = Method(cell.get("generator"), cell.get("attribution"), int(cell.get("seed") or 0))
        for item in cell["items"]:
            images = {str(role): _picture(place, path) for role, path in item.get("images", {}).items() if path}
            # Methods that saw different pixels are never shown as answers to one case.
            key = (str(cell["dataset"]), str(cell.get("task") or ""), str(item["id"]), _name(images.get("input")))
            case = cases.setdefault(key, _case(cell, item))
            target = _number(item.get("target"))
            asked = case.asked.setdefault(target, Asked(target=target))
            asked.extrapolated = asked.extrapolated or item.get("extrapolated") is True
            _put(images, case, asked)
            status = str(item.get("status", "ok"))
            numbers = dict(item.get("numbers") or {})
            asked.answers[method] = Answer(status=status, images=images, numbers=numbers)
    return cases.values()


def _put(images: dict[str, Picture], case: Case, asked: Asked) -> None:
    """Move pictures that are not the method's own to where they belong."""
    for role in list(images):
        if role in _OF_CASE or role.endswith(MASK):
            case.images.setdefault(role, images.pop(role))
        elif role in _OF_TARGET:
            asked.images.setdefault(role, images.pop(role))


def _case(cell: Mapping[str, Any], item: Mapping[str, Any]) -> Case:
    task, patient = cell.get("task"), item.get("patient")
    return Case(
        dataset=str(cell["dataset"]),
        task=None if task is None else str(task),
        id=str(item["id"]),
        patient=None if patient is None else str(patient),
        grade=_number(item.get("grade")),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e12 else None


def _picture(folder: Path, path: object) -> Picture:
    try:
        return read_png(folder, str(path))
    except (RefusedImageError, OSError) as error:
        return f"not shown: {error}"


def _name(picture: Picture | None) -> str:
    return picture.name if isinstance(picture, Png) else ""
