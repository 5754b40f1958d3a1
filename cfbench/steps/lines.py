"""Lines: the manifest of case x target that every method of a suite answers alike."""

from dataclasses import dataclass

import torch
from torch import Tensor

from cfbench.protocols import Cases
from cfbench.specs import Task


@dataclass(frozen=True)
class Lines:
    """`case[i]` is the position of line i's case; `value[i]` the grade that is asked for."""

    kind: str
    case: list[int]
    value: Tensor

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.case)


def make_lines(cases: Cases, task: Task, target: str | float) -> Lines:
    """Return the lines of a target: the other class (`flip`), every grade (`sweep`), or one grade.

    Cases without a grade have none; cases with an excluded grade take no part in flips.
    """
    grades = cases.labels[task.label].tolist()
    known = [i for i, grade in enumerate(grades) if grade == grade]  # noqa: PLR0124 - NaN is a missing grade
    if target == "flip":
        flipped = [i for i in known if grades[i] not in task.exclude]
        return Lines("flip", flipped, torch.tensor([task.flip_target(grades[i]) for i in flipped]))
    wanted = task.grades if target == "sweep" else (float(target),)
    case = [i for i in known for _ in wanted]
    return Lines("grade", case, torch.tensor([g for _ in known for g in wanted], dtype=torch.float32))
