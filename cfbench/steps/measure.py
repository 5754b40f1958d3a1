"""The step that makes a number, with its interval, and the per-line scores that it came from."""

from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from cfbench.errors import NotFiniteError, UndefinedError
from cfbench.protocols import CaseMetric, SetMetric
from cfbench.records import Result
from cfbench.specs import MetricSpec
from cfbench.statistics import (
    FULL_COVERAGE,
    Bounds,
    bca_interval,
    coverage,
    interval_of_mean,
    is_ranked,
    jackknife_interval,
    jackknife_weights,
    patient_bootstrap_weights,
    with_failures,
)
from cfbench.steps.cases import batches
from cfbench.steps.lineage import circular, lineages, overlap
from cfbench.steps.matching import effective_number, matched_to_targets
from cfbench.steps.views import build_view
from cfbench.steps.work import Work
from cfbench.types import Explanation, Judged, Prediction, Reference, Truth, View

Array = NDArray[np.float64]
#: Bootstrap replicates, and groups of the jackknife.
REPLICATES = 10_000
GROUPS = 20
#: Groups that are left out in turn for the acceleration of a BCa interval.
LEFT_OUT = 200
_CHUNK = 64
#: Weights that are held at once (replicates x lines).
_WEIGHTS = 4_000_000


def measure(work: Work) -> None:
    """Store `result.json`; of case metrics also every line's score, of set metrics the number under every draw."""
    spec: Any = work.spec_of("metric")[0]
    view = build_view(work, work.payload["view"])
    facts: dict[str, Any] = {
        "n": len(view),
        "patients": len(set(view.patients)),
        "unit": "patient" if work.info.patients and view.name != "sample" else "image",
        "coverage": coverage(view.status),
    }
    try:
        answered = sum(status == "ok" for status in view.status) if spec.kind == "set" else len(view)
        if answered < spec.minimum:
            raise UndefinedError(f"{spec.name} means something from {spec.minimum} lines on; there are {answered}")
        measured = _of_cases(work, view, spec) if spec.kind == "case" else _of_set(work, view, spec)
        notes, unranked = _standing(work, view)
        result = replace(measured, **facts, notes=(*measured.notes, *notes), unranked=unranked)
    except UndefinedError as error:
        result = Result(status="undefined", reason=str(error), **facts)
    work.save_json("result.json", asdict(result))


def _standing(work: Work, view: View) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return remarks, and why the number is not to be ranked: too few answers, or judges that depend on the judged."""
    unranked = []
    if not is_ranked(view.status):
        share = coverage(view.status)
        unranked.append(f"answers for {share:.0%} of the lines: below {FULL_COVERAGE:.0%}, not to be ranked")
    notes = []
    judged = list(lineages(work.store, work.inputs["source"]))
    looks = [key for role, key in work.inputs.items() if role.startswith(("judged:", "judged_out:"))]
    for fit in dict.fromkeys(work.store.meta(look)["inputs"]["judge"] for look in looks):
        judge = next(lineages(work.store, fit))
        found = [circular(one, judge) for one in judged]
        unranked += filter(None, found)
        notes += [overlap(one, judge) for one, reason in zip(judged, found, strict=True) if not reason]
    return tuple(filter(None, notes)), tuple(dict.fromkeys(unranked))


def _of_cases(work: Work, view: View, spec: MetricSpec) -> Result:
    metric: CaseMetric = work.build("metric")
    parts = []
    for index in batches(len(view), _CHUNK):
        work.context.progress(index[0], len(view), spec.name)
        parts.append(metric.score(take(view, index), work.context).detach().cpu().double())
    scores = torch.cat(parts).numpy()
    scores = with_failures(scores, view.status, spec.worst)
    if np.isinf(scores).any():
        raise NotFiniteError(f"{spec.name} gave an infinite score")
    _save_scores(work, view, scores)
    if np.isnan(scores).all():
        raise UndefinedError(f"{spec.name} exists for none of the {len(view)} lines")
    bounds = interval_of_mean(scores, view.patients, REPLICATES).within(*spec.range)
    without = int(np.isnan(scores).sum())
    notes = (f"without a value: {without} of {len(view)} lines",) if without else ()
    return Result(value=float(np.nanmean(scores)), low=bounds.low, high=bounds.high, interval="bootstrap", notes=notes)


def _of_set(work: Work, view: View, spec: MetricSpec) -> Result:
    metric: SetMetric = work.build("metric")
    kept = take(view, [i for i, status in enumerate(view.status) if status == "ok"])
    reference, index = _reference(work, kept)
    others = [work.test.patients[i] for i in index]
    weights, reference_weights, notes = _weights(work, kept, index, spec)
    rows = max(1, _WEIGHTS // max(len(kept), 1)) if spec.interval == "bootstrap" else len(weights)
    values = []
    for start in range(0, len(weights), rows):
        some = slice(start, start + rows)
        values.append(metric.compute(kept, reference, weights[some], reference_weights[some], work.context).double())
    found = torch.cat(values).numpy()
    if not np.isfinite(found[0]):
        raise NotFiniteError(f"{spec.name} is not finite")
    drawn = found[: REPLICATES + 1]
    save_file({"values": drawn}, work.out / "replicates.safetensors")
    bounds = _bounds(drawn, found[REPLICATES + 1 :], spec, len({*kept.patients, *others}))
    low, high = (bounds.low, bounds.high) if bounds else (None, None)
    if bounds and bounds.dropped:
        notes = (*notes, f"bootstrap draws without a value: {bounds.dropped}")
    return Result(value=float(found[0]), low=low, high=high, interval=spec.interval, notes=notes)


def _reference(work: Work, view: View) -> tuple[Reference | None, list[int]]:
    """Return the real side of a set metric and its cases: those that the lines are about, so that N is equal."""
    if "reference" not in work.inputs:
        return None, []
    about = set(view.ids)
    index = [i for i, case in enumerate(work.test.ids) if view.name == "sample" or case in about]
    return Reference({name: tensor[index] for name, tensor in work.tensors("reference").items()}), index


def _weights(work: Work, view: View, index: list[int], spec: MetricSpec) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Return weights of lines and of real cases, one row per draw, and a remark on them.

    A patient on both sides is drawn, or left out, on both.
    """
    joint = _drawn([*view.patients, *(work.test.patients[i] for i in index)], spec)
    lines, real = joint[:, : len(view)], joint[:, len(view) :]
    notes: tuple[str, ...] = ()
    if spec.matched and index and view.target is not None and view.task and view.name != "walk":
        grade = work.test.labels[view.task.label].double().numpy()[index]
        real = matched_to_targets(grade, view.target.double().numpy(), lines, real, view.task.grades)
        size = effective_number(real[0])
        if size < len(index) - 0.5:
            notes = (f"real cases are weighted to the grades asked for: {size:.0f} of {len(index)} count",)
    return torch.from_numpy(lines), torch.from_numpy(real), notes


def _drawn(patients: list[str], spec: MetricSpec) -> Array:
    """Return how often each line is drawn: once in the first row, then by the kind of interval."""
    if spec.interval == "bootstrap":
        drawn = patient_bootstrap_weights(patients, REPLICATES, seed=0)
        return np.concatenate([drawn, jackknife_weights(patients, LEFT_OUT, seed=0)[1:]])
    if spec.interval == "jackknife":
        return jackknife_weights(patients, GROUPS, seed=0)
    return np.ones((1, len(patients)))


def _bounds(drawn: Array, left_out: Array, spec: MetricSpec, patients: int) -> Bounds | None:
    """Return the interval, cut to the metric's range: a distance is not negative."""
    if spec.interval == "none":
        return None
    value = float(drawn[0])
    if spec.interval == "jackknife":
        return jackknife_interval(value, drawn[1:]).within(*spec.range)
    return bca_interval(value, drawn[1:], left_out, patients).within(*spec.range)


def _save_scores(work: Work, view: View, scores: Array) -> None:
    table = {"case": view.ids, "patient": view.patients, "status": view.status, "score": scores}
    for name, column in (("grade", view.grade), ("target", view.target)):
        if column is not None:
            table[name] = column.double().numpy()
    pd.DataFrame(table).to_parquet(work.out / "scores.parquet", index=False)


def take(view: View, index: list[int]) -> View:
    """Return some lines of a view, every column aligned."""
    return View(**{f.name: _take(getattr(view, f.name), index) for f in fields(View)})


def _take(value: Any, index: list[int]) -> Any:
    if isinstance(value, tuple):
        return tuple(value[i] for i in index)
    if isinstance(value, Tensor):
        return value[index]
    if isinstance(value, dict):
        return {name: _take(item, index) for name, item in value.items()}
    if isinstance(value, Prediction | Truth | Judged | Explanation):
        return type(value)(**{f.name: _take(getattr(value, f.name), index) for f in fields(value)})
    return value
