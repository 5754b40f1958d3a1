"""What the judges of a run are worth, for the terminal and for its page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cfbench.leaderboard.text import number, plain

#: More than any suite has, and no more than a page can show.
_MOST = 200
_LARGEST = 1e9
_ROLES = ("judge", "control", "explained")


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """How well one classifier does on the real test cases of one task; texts are plain, numbers are texts."""

    where: str
    name: str
    role: str
    cases: str
    auc: str
    interval: str
    balanced_accuracy: str
    accuracy: str
    calibration_error: str
    grade_error: str
    #: Whether it cannot be told from chance; a control is meant to be.
    blind: bool


def classifiers_of(about: Mapping[str, object]) -> list[Classifier]:
    """Return what `run.json` says of them; what is not of its form is left out."""
    items = about.get("classifiers")
    return [_classifier(item) for item in items[:_MOST] if _is_sound(item)] if isinstance(items, list) else []


def remarks(found: Iterable[Classifier]) -> list[str]:
    """Return a sentence for each judge whose votes say nothing."""
    return [
        f"{c.role} {c.name} cannot tell the classes of the real test cases of {c.where} (AUC {c.auc} {c.interval}): "
        "what it says of counterfactuals means nothing"
        for c in found
        if c.blind
    ]


def _is_sound(item: object) -> bool:
    return isinstance(item, Mapping) and item.get("role") in _ROLES


def _classifier(item: Mapping[str, object]) -> Classifier:
    low, high = _value(item, "low"), _value(item, "high")
    interval = "" if low is None or high is None else f"[{number(low)}, {number(high)}]"
    role = str(item["role"])
    return Classifier(
        where=plain(f"{item.get('dataset')} / {item.get('task')}"),
        name=plain(str(item.get("name"))),
        role=role,
        cases=number(_value(item, "cases"), 0),
        interval=interval,
        blind=role != "control" and low is not None and low <= 0.5,
        **{
            name: number(_value(item, name))
            for name in ("auc", "balanced_accuracy", "accuracy", "calibration_error", "grade_error")
        },
    )


def _value(item: Mapping[str, object], name: str) -> float | None:
    value = item.get(name)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
    return float(value) if sound else None  # type: ignore[arg-type]
