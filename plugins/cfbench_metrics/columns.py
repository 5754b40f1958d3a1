"""Columns of a view that a metric cannot do without: either they are there, or a sentence says what is missing."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.errors import DataError, UndefinedError
from cfbench.specs import Task
from cfbench.types import Images, Judged, Truth, Values, View

#: Rounding of float32 that a value may leave [0, 1] by.
_SLACK = 1e-3


def task_of(view: View) -> Task:
    """Return the task whose grades the view speaks of."""
    if view.task is None:
        raise UndefinedError(f"the {view.name} view has no task; give the suite one to measure this")
    return view.task


def grades_of(view: View) -> Values:
    """Return the true grade of each line (NaN where unknown)."""
    if view.grade is None:
        raise UndefinedError(f"the {view.name} view has no true grades; is the task's label in this dataset?")
    return view.grade


def targets_of(view: View) -> Values:
    """Return the grade that each line was asked for."""
    if view.target is None:
        raise UndefinedError(f"the {view.name} view has no targets; measure this on counterfactuals or a sweep")
    return view.target


def truth_of(view: View) -> Truth:
    """Return the exact counterfactuals."""
    if view.truth is None:
        raise UndefinedError(f"the {view.name} view has no exact counterfactuals; only phantoms have them")
    return view.truth


def pair_of(view: View) -> tuple[Images, Images]:
    """Return the factual images and the images under test, both [b, c, *space] in [0, 1].

    Raises:
        UndefinedError: one of them is not there.
        DataError: their shapes differ, or a pixel lies outside [0, 1]: every metric's data range is 1, fixed.
    """
    if view.x is None or view.x_out is None:
        raise UndefinedError(f"the {view.name} view lacks the images to compare; does this cell make any?")
    if view.x.shape != view.x_out.shape:
        raise DataError(
            f"the {view.name} view compares images of the shape {tuple(view.x_out.shape[1:])} with factual ones of "
            f"{tuple(view.x.shape[1:])}; they must be equal"
        )
    for whose, images in (("factual images", view.x), ("images under test", view.x_out)):
        _require_unit_range(images, f"the {view.name} view's {whose}")
    return view.x, view.x_out


def answers_of(view: View) -> tuple[Images, Images]:
    """Return the images under test and the answers to the same lines under noise, both [b, c, *space] in [0, 1].

    Raises as `pair_of`.
    """
    if view.x_out is None or view.perturbed is None or view.perturbed.x_cf is None:
        raise UndefinedError(f"the {view.name} view has no answers under noise; does this method make images?")
    noised = view.perturbed.x_cf
    if noised.shape != view.x_out.shape:
        raise DataError(
            f"the {view.name} view has images of the shape {tuple(view.x_out.shape[1:])} and, under noise, of "
            f"{tuple(noised.shape[1:])}; they must be equal"
        )
    for whose, images in (("images under test", view.x_out), ("images under noise", noised)):
        _require_unit_range(images, f"the {view.name} view's {whose}")
    return view.x_out, noised


def _require_unit_range(images: Images, whose: str) -> None:
    """Raise DataError if a pixel lies outside [0, 1]; NaN is no number to judge here, and gives a NaN score."""
    outside = (images < -_SLACK) | (images > 1 + _SLACK)
    if outside.any():
        worst = images[outside]
        raise DataError(
            f"{whose} hold values from {worst.min():.3g} to {worst.max():.3g} outside [0, 1]; "
            "clip or rescale them where they are made (metrics never rescale an image by itself)"
        )


def answered(view: View) -> Bool[Tensor, " n"]:
    """Return which lines have an answer: a set metric leaves the others out, and coverage tells how many."""
    return torch.tensor([status == "ok" for status in view.status], dtype=torch.bool)


def judges_of(view: View, of: str = "out") -> dict[str, Judged]:
    """Return the judges' outputs on the images under test (`"out"`) or on the factual ones (`"x"`), by name."""
    judged = dict(sorted((view.judged_out if of == "out" else view.judged).items()))
    if not judged:
        raise UndefinedError(f"the {view.name} view has not been judged; give the suite `judges:` to measure this")
    return judged


def explained_of(view: View) -> tuple[Judged, Judged]:
    """Return the outputs of the classifier that is explained, on the factual images and on those under test."""
    if view.explained is None or view.explained_out is None:
        raise UndefinedError(
            f"the {view.name} view lacks the explained classifier's outputs; give the suite `explains:` to measure this"
        )
    return view.explained, view.explained_out


def controls_of(view: View) -> dict[str, Judged]:
    """Return the outputs of the judges with random weights on the images under test, by name."""
    if not view.control_out:
        raise UndefinedError(
            f"no judge with random weights has seen the {view.name} view; add one to the suite's `judges:`"
        )
    return dict(sorted(view.control_out.items()))


def mass_on(proba: Float[Tensor, "b k"], grades: tuple[float, ...], chosen: tuple[float, ...]) -> Float[Tensor, " b"]:
    """Return the probability, in [0, 1], that lies on the chosen ones of the k grades."""
    return proba[:, [k for k, grade in enumerate(grades) if grade in chosen]].double().sum(1)
