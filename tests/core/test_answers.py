"""Answers of plugins that do not fit their cases are refused before a metric could lay them on the wrong ones."""

import pytest
import torch

from cfbench.errors import NotFiniteError, PluginError
from cfbench.steps.codes import require_finite, require_rows
from cfbench.steps.explain import _check_answer, _columns
from cfbench.types import Batch, Explanation, Prediction

X = torch.rand(3, 1, 4, 4)
BATCH = Batch(("a", "b", "c"), ("p", "p", "q"), X, {})


@pytest.mark.parametrize("tensor", [torch.rand(2), torch.rand(()), torch.rand(1, 3)])
def test_rows_are_counted(tensor):
    with pytest.raises(PluginError, match="expected 3 rows"):
        require_rows({"score": tensor}, 3, "predictions")


def test_nan_is_refused():
    with pytest.raises(NotFiniteError, match="score"):
        require_finite({"score": torch.tensor([1.0, float("nan")])}, "predictions")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Explanation(X[:, :, :2], ("ok",) * 3), "x_cf has shape"),
        (Explanation(X, ("ok",) * 2), "2 statuses for 3 lines"),
        (Explanation(X[:2], ("ok",) * 3), "expected 3 rows"),
        (Explanation(X, ("ok",) * 3, predicted_cf=Prediction(score=torch.zeros(3))), "columns"),
    ],
)
def test_an_answer_has_a_row_per_line_and_the_same_columns_every_time(answer, words):
    parts = [{"x_cf": X}, _columns(answer)]
    with pytest.raises(PluginError, match=words):
        _check_answer(parts, answer, BATCH)
