"""The step that asks how well a classifier does on the real test cases: what its votes are worth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from cfbench.specs import Task
from cfbench.statistics import patient_bootstrap_weights
from cfbench.steps.work import Work

#: Bootstrap replicates of the AUC's interval.
_REPLICATES = 1000
#: Bins of the calibration error.
_BINS = 15


def assess(work: Work) -> None:
    """Store `classifier.json`: AUC with interval, accuracy and calibration error on real cases."""
    cases, looked, task = work.test, work.tensors("looked"), work.known_task
    found = report(looked["proba"], looked["grade"], cases.labels[task.label], cases.patients, task)
    work.save_json("classifier.json", found)


def report(
    proba: Float[Tensor, "n k"],
    said: Float[Tensor, " n"],
    grade: Float[Tensor, " n"],
    patients: Sequence[str],
    task: Task,
) -> dict[str, Any]:
    """Return how well probabilities over the task's grades, and the grades that a classifier says, meet the true ones.

    Cases whose grade is unknown, or takes no part in the task's fits, are left out. None where a number is undefined.
    """
    taking_part = torch.tensor([value for value in task.grades if value not in task.exclude]).to(grade)
    kept = torch.isin(grade, taking_part).nonzero().flatten()
    people = [patients[i] for i in kept.tolist()]
    counts = {"cases": len(people), "patients": len(set(people))}
    return counts | _shares(proba[kept].double(), said[kept].double(), grade[kept], people, task)


def _shares(
    proba: Float[Tensor, "n k"], said: Float[Tensor, " n"], grade: Float[Tensor, " n"], patients: list[str], task: Task
) -> dict[str, float | None]:
    if not patients:
        return {}
    scale = torch.tensor(task.grades, dtype=grade.dtype)
    of_positive = torch.isin(scale, torch.tensor(task.positive, dtype=grade.dtype))
    positive = torch.isin(grade, scale[of_positive]).numpy()
    score = proba[:, of_positive].sum(dim=1).numpy()
    right = (scale[proba.argmax(dim=1)] == grade).double()
    both = positive.any() and not positive.all()
    auc, low, high = auc_interval(score, positive, patients) if both else (None, None, None)
    from sklearn.metrics import balanced_accuracy_score  # most steps do without scikit-learn

    return {
        "auc": auc,
        "low": low,
        "high": high,
        "balanced_accuracy": float(balanced_accuracy_score(positive, score > 0.5)) if both else None,
        "accuracy": float(right.mean()),
        "grade_error": float((said - grade).abs().mean()),
        "calibration_error": calibration_error(proba.max(dim=1).values.numpy(), right.numpy()),
    }


def auc_interval(
    score: Float64[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], patients: list[str]
) -> tuple[float, float | None, float | None]:
    """Return the area under the ROC curve, ties counted half, and its 95 % percentile interval over patients.

    Both classes must be there. Replicates that draw one class alone are left out; None if all do. (scikit-learn's
    takes one row of weights at a time; this is one product of matrices for all replicates.)
    """
    weights = patient_bootstrap_weights(patients, _REPLICATES, seed=0)
    higher = np.sign(score[positive][:, None] - score[~positive][None, :]) / 2 + 0.5
    pairs = weights[:, positive].sum(axis=1) * weights[:, ~positive].sum(axis=1)
    won = ((weights[:, positive] @ higher) * weights[:, ~positive]).sum(axis=1)
    found = won[pairs > 0] / pairs[pairs > 0]
    low, high = np.quantile(found[1:], (0.025, 0.975)) if len(found) > 1 else (np.nan, np.nan)
    return float(found[0]), _finite(low), _finite(high)


def calibration_error(confidence: Float64[np.ndarray, " n"], right: Float64[np.ndarray, " n"]) -> float:
    """Return the expected calibration error (Guo et al., ICML 2017): |accuracy - confidence| over 15 equal bins."""
    place = np.clip(np.ceil(confidence * _BINS) - 1, 0, _BINS - 1).astype(int)
    gaps = np.zeros(_BINS)
    np.add.at(gaps, place, right - confidence)
    return float(np.abs(gaps).sum() / len(confidence))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
