"""Which grades answer a target: all of the target's class, or that grade alone."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.errors import UndefinedError
from cfbench.specs import Task
from cfbench.types import Targets
from cfbench_sentinels.plugin import Match


def answering(targets: Targets, grade: Float[Tensor, " n"], task: Task, match: Match = "class") -> Bool[Tensor, "b n"]:
    """Return, line by line, which of n grades are of the target's class (flip) or equal to it (grade).

    Where the grade is to match, a flip, too, is answered by that grade alone. None answers a target that is NaN. Raises
    UndefinedError for other kinds of target.
    """
    value = targets.value.to(grade)[:, None]
    if targets.kind == "flip" and match == "class":
        same = _positive(value, task) == _positive(grade, task)
        return same & ~value.isnan() & ~grade.isnan()
    if targets.kind in ("flip", "grade"):
        return value == grade
    raise UndefinedError(f"this sentinel answers targets of kind 'flip' and 'grade', not {targets.kind!r}")


def wants_positive(targets: Targets, task: Task) -> Bool[Tensor, " b"]:
    """Return which lines ask for the positive class."""
    return _positive(targets.value, task)


def status_of(found: Bool[Tensor, " b"], targets: Targets, match: Match = "class") -> tuple[str, ...]:
    """Return "ok" for lines that some training image answers, and why not for the others."""
    what: Match = "class" if targets.kind == "flip" and match == "class" else "grade"
    return tuple(
        "ok" if ok else f"no training image has {_what(what, value)}"
        for ok, value in zip(found.tolist(), targets.value.tolist(), strict=True)
    )


def _what(what: Match, value: float) -> str:
    return f"the grade {value:g}" if what == "grade" else f"the class of grade {value:g}"


def _positive(grade: Float[Tensor, "*any"], task: Task) -> Bool[Tensor, "*any"]:
    return torch.isin(grade, torch.tensor(task.positive).to(grade))
