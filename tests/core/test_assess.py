"""What a classifier is worth on real cases: against scikit-learn and torchmetrics, and as people read it."""

import io

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from cfbench.cli.tables import print_classifiers
from cfbench.leaderboard.classifiers import classifiers_of, remarks
from cfbench.specs import Task
from cfbench.steps.assess import auc_interval, calibration_error, report
from cfbench_nets.classify.calibration import calibration_error as of_the_judges


@pytest.fixture
def scored():
    random = np.random.default_rng(0)
    positive = random.random(120) < 0.4
    score = np.round(np.clip(0.35 + 0.3 * positive + 0.2 * random.standard_normal(120), 0, 1), 2)
    return score, positive, [f"p{i // 2}" for i in range(120)]


def assessed(grade, score, patients):
    """What is said of a classifier that gives these scores to two grades."""
    task = Task(name="t", label="ill", kind="binary", grades=(0.0, 1.0), positive=(1.0,))
    proba = torch.from_numpy(np.stack([1 - score, score], axis=1))
    return report(proba, proba[:, 1], torch.from_numpy(grade), patients, task)


def test_a_report_is_scikit_learns_and_leaves_unknown_grades_out(scored):
    score, positive, patients = scored
    grade = np.append(positive.astype(float), np.nan)
    found = assessed(grade, np.append(score, 0.5), [*patients, "nobody"])
    assert (found["cases"], found["patients"]) == (120, 60)
    assert found["auc"] == pytest.approx(roc_auc_score(positive, score), abs=1e-12)
    assert found["low"] < found["auc"] < found["high"]
    assert found["accuracy"] == pytest.approx(np.mean((score > 0.5) == positive))
    assert found["grade_error"] == pytest.approx(np.abs(score - positive).mean(), abs=1e-6)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(positive, score > 0.5))


def test_one_class_has_no_auc():
    found = assessed(np.ones(2), np.array([0.2, 0.9]), ["a", "b"])
    assert (found["auc"], found["low"], found["balanced_accuracy"]) == (None, None, None)
    assert found["accuracy"] == 0.5
    assert assessed(np.full(2, np.nan), np.array([0.2, 0.9]), ["a", "b"]) == {"cases": 0, "patients": 0}


def test_grades_that_no_binary_fraction_is_are_met_in_single_precision():
    task = Task(name="t", label="ill", kind="ordinal", grades=(0.1, 0.7), positive=(0.7,))
    grade = torch.tensor([0.1, 0.7, 0.7])
    found = report(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), grade, grade, ("a", "b", "c"), task)
    assert (found["cases"], found["auc"]) == (3, 1.0)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["grade_error"] == 0


def test_the_interval_is_the_percentiles_of_scikit_learns_auc_over_drawn_patients(scored):
    score, positive, patients = scored
    random, found = np.random.default_rng(1), []
    for _ in range(1000):
        drawn = random.integers(60, size=60)
        lines = np.concatenate([2 * drawn, 2 * drawn + 1])
        found.append(roc_auc_score(positive[lines], score[lines]))
    _, low, high = auc_interval(score, positive, patients)
    assert (low, high) == pytest.approx(np.quantile(found, (0.025, 0.975)), abs=0.015)


def test_the_calibration_error_is_the_judges_own(scored):
    score, positive, _ = scored
    proba = torch.from_numpy(np.stack([1 - score, score], axis=1))
    wanted = of_the_judges(proba, torch.from_numpy(positive.astype(np.int64)))
    confidence, said = proba.max(dim=1)
    right = (said.numpy() == positive).astype(float)
    assert calibration_error(confidence.numpy(), right) == pytest.approx(wanted, abs=1e-12)


SOUND = {
    "dataset": "bones",
    "task": "fracture",
    "role": "judge",
    "name": "cnn",
    "cases": 40,
    "auc": 0.51,
    "low": 0.34,
    "high": 0.69,
    "balanced_accuracy": 0.5,
    "accuracy": 0.3,
    "calibration_error": 0.1,
    "grade_error": 1.5,
}


def test_a_judge_that_is_no_better_than_chance_is_told():
    good = SOUND | {"name": "resnet", "auc": 0.9, "low": 0.8, "high": 0.95}
    control = SOUND | {"name": "control", "role": "control"}
    found = classifiers_of({"classifiers": [SOUND, good, control]})
    assert [c.blind for c in found] == [True, False, False]
    (told,) = remarks(found)
    assert told.startswith("judge cnn cannot tell the classes of the real test cases of bones / fracture (AUC 0.510")
    shown = io.StringIO()
    print_classifiers(found, Console(file=shown, width=160))
    assert "warning: judge cnn" in shown.getvalue()
    assert "resnet" in shown.getvalue()


def test_what_a_stranger_wrote_is_left_out_or_made_plain():
    huge, text = SOUND | {"auc": 10**400, "low": "0.1", "cases": True}, SOUND | {"name": "[red]\x1b[31m", "high": None}
    found = classifiers_of({"classifiers": [7, {"role": "king"}, huge, text]})
    assert [c.auc for c in found] == ["–", "0.510"]
    assert not found[0].blind
    assert "\x1b" not in found[1].name
    assert classifiers_of({"classifiers": {"role": "judge"}}) == classifiers_of({}) == []
