"""The step that asks how well a classifier does on the real test cases: what its votes are worth."""

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
    """Store `classifier.json`: AUC with interval, accuracy and calibration error on real cases; None = undefined."""
    cases, looked, task = work.test, work.tensors("looked"), work.known_task
    grade = cases.labels[task.label].double()
    kept = [i for i, value in enumerate(grade.tolist()) if value in task.grades and value not in task.exclude]
    patients = [cases.patients[i] for i in kept]
    report: dict[str, Any] = {"cases": len(kept), "patients": len(set(patients))}
    if kept:
        report |= _report(looked["proba"][kept].double(), looked["grade"][kept].double(), grade[kept], task, patients)
    work.save_json("classifier.json", report)


def _report(
    proba: Float[Tensor, "n k"], said: Float[Tensor, " n"], grade: Float[Tensor, " n"], task: Task, patients: list[str]
) -> dict[str, float | None]:
    scale = torch.tensor(task.grades, dtype=grade.dtype)
    of_positive = torch.isin(scale, torch.tensor(task.positive, dtype=grade.dtype))
    positive = torch.isin(grade, scale[of_positive]).numpy()
    score = proba[:, of_positive].sum(dim=1).numpy()
    right = (scale[proba.argmax(dim=1)] == grade).double()
    auc, low, high = auc_interval(score, positive, patients)
    return {
        "auc": auc,
        "low": low,
        "high": high,
        "balanced_accuracy": balanced_accuracy(score, positive),
        "accuracy": float(right.mean()),
        "grade_error": float((said - grade).abs().mean()),
        "calibration_error": calibration_error(proba.max(dim=1).values.numpy(), right.numpy()),
    }


def auc_interval(
    score: Float64[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], patients: list[str]
) -> tuple[float | None, float | None, float | None]:
    """Return the area under the ROC curve, ties counted half, and its 95 % percentile interval over patients.

    None where there is one class. Replicates that draw one class alone are left out.
    """
    if positive.all() or not positive.any():
        return None, None, None
    weights = patient_bootstrap_weights(patients, _REPLICATES, seed=0)
    higher = np.sign(score[positive][:, None] - score[~positive][None, :]) / 2 + 0.5
    pairs = weights[:, positive].sum(axis=1) * weights[:, ~positive].sum(axis=1)
    won = ((weights[:, positive] @ higher) * weights[:, ~positive]).sum(axis=1)
    found = won[pairs > 0] / pairs[pairs > 0]
    low, high = np.quantile(found[1:], (0.025, 0.975)) if len(found) > 1 else (np.nan, np.nan)
    return float(found[0]), _finite(low), _finite(high)


def balanced_accuracy(score: Float64[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float | None:
    """Return the mean over both classes of the share whose side of 0.5 is right; None where there is one class."""
    if positive.all() or not positive.any():
        return None
    return float(((score[positive] > 0.5).mean() + (score[~positive] <= 0.5).mean()) / 2)


def calibration_error(confidence: Float64[np.ndarray, " n"], right: Float64[np.ndarray, " n"]) -> float:
    """Return the expected calibration error (Guo et al., ICML 2017): |accuracy - confidence| over 15 equal bins."""
    place = np.clip(np.ceil(confidence * _BINS) - 1, 0, _BINS - 1).astype(int)
    gaps = np.zeros(_BINS)
    np.add.at(gaps, place, right - confidence)
    return float(np.abs(gaps).sum() / len(confidence))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
