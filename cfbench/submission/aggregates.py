"""Every mean and interval of a bundle, made again from its per-case scores as the core makes them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cfbench.records import Record
from cfbench.statistics import FULL_COVERAGE, coverage, intervals_of_means, is_ranked
from cfbench.submission.bundle import Bundle
from cfbench.submission.case_scores import CaseScores

#: Relative difference that adding in another order may make.
CLOSE = 1e-9
#: Draws go by the order of patients' names. Under pseudonyms that order is another one, and the ends of an interval
#: move by what B = 10,000 draws leave open: about 0.7 % of its width, one standard deviation each.
REDRAWN = 0.05
SET_METRIC = "a number of the whole set: not to be made from per-case scores; a re-run of all cases checks it"
Standing = Literal["recomputed", "fault", "set metric", "no number"]


@dataclass(frozen=True)
class Metric:
    """What checking a metric's numbers takes to know."""

    kind: str
    range: tuple[float | None, float | None]
    worst: float | None


@dataclass(frozen=True)
class Checked:
    """What came of one number: how it stands, and what is wrong with it."""

    record: Record
    standing: Standing
    faults: Sequence[str] = ()


def told_metrics(about: Mapping[str, Any]) -> dict[str, Metric]:
    """Return the metrics of a run as `run.json` tells them."""
    found = {}
    for name, facts in about["metrics"].items():
        low, high = facts.get("range", (None, None))
        kind, worst = str(facts.get("kind", "set")), facts.get("worst")
        found[name] = Metric(kind, (low, high), worst)
    return found


def check_numbers(bundle: Bundle, metrics: Mapping[str, Metric]) -> list[Checked]:
    """Return what came of every record, in their order."""
    again = _means(bundle, metrics)
    return [_checked(bundle, record, metrics.get(record.metric), again) for record in bundle.records]


def _means(bundle: Bundle, metrics: Mapping[str, Metric]) -> Mapping[str, tuple[float, float, float]]:
    """Return key to mean and interval of all case metrics; scores of the same patients share their draws."""
    wanted = {r.key: metrics[r.metric] for r in bundle.records if r.key in bundle.scores and r.metric in metrics}
    alike: dict[tuple[str, ...], list[str]] = {}
    for key, metric in wanted.items():
        if key is not None and metric.kind == "case" and not np.isnan(bundle.scores[key].score).all():
            alike.setdefault(tuple(bundle.scores[key].patient), []).append(key)
    found = {}
    for patients, keys in alike.items():
        values = np.stack([np.asarray(bundle.scores[key].score) for key in keys], axis=1)
        for key, bounds, mean in zip(keys, intervals_of_means(values, patients), np.nanmean(values, 0), strict=True):
            cut = bounds.within(*wanted[key].range)
            found[key] = (float(mean), cut.low, cut.high)
    return found


def _checked(
    bundle: Bundle, record: Record, metric: Metric | None, again: Mapping[str, tuple[float, float, float]]
) -> Checked:
    if record.status != "ok" or record.published:
        wrong = "a number, though its status says that there is none"
        return Checked(record, "no number", [wrong] if record.status != "ok" and record.value is not None else [])
    if metric is None:
        return Checked(record, "fault", [f"run.json does not know the metric {record.metric}"])
    if metric.kind != "case":
        return Checked(record, "set metric", list(_impossible(record, metric)))
    if record.key is None or record.key not in again:
        return Checked(record, "fault", ["its per-case scores are not in the bundle"])
    scores = bundle.scores[record.key]
    mixed = record.cell.dataset in bundle.pseudonymous
    faults = [*_impossible(record, metric), *_of_lines(record, scores, metric)]
    faults += _of_mean(record, again[record.key], REDRAWN if mixed else 0.0)
    return Checked(record, "fault" if faults else "recomputed", faults)


def _impossible(record: Record, metric: Metric) -> Iterator[str]:
    """Yield what cannot be, whatever the scores are."""
    low, high = metric.range
    if record.value is None:
        yield "status ok without a value"
        return
    if (low is not None and record.value < low - CLOSE) or (high is not None and record.value > high + CLOSE):
        yield f"value {record.value:g} is outside the metric's range [{low}, {high}]"
    if (record.low is None) != (record.high is None) or (record.interval == "none") != (record.low is None):
        yield f"an interval {record.interval!r} with ends {record.low} and {record.high}"
    elif record.low is not None and record.high is not None and record.low > record.high:
        yield f"the interval's lower end {record.low:g} is above its upper end {record.high:g}"
    if record.coverage is not None and record.coverage < FULL_COVERAGE and not record.unranked:
        yield f"answers for {record.coverage:.0%} of the lines, and nothing says that it must not be ranked"


def _of_lines(record: Record, scores: CaseScores, metric: Metric) -> Iterator[str]:
    """Yield how counts and failed lines of a record differ from its scores."""
    told = {"n": len(scores), "patients": len(set(scores.patient))}
    for name, found in told.items():
        if getattr(record, name) != found:
            yield f"{name} is {getattr(record, name)}; its per-case scores have {found}"
    share = coverage(scores.status)
    if record.coverage is None or abs(record.coverage - share) > CLOSE:
        yield f"coverage is {record.coverage}; its per-case scores have {share:.6g}"
    if not is_ranked(scores.status) and not record.unranked:
        yield "too few lines have an answer, and nothing says that it must not be ranked"
    low, high = metric.range
    values = np.asarray(scores.score)
    bad = [i for i, value in enumerate(values) if not np.isnan(value) and not _inside(value, low, high)]
    if bad:
        yield f"case {scores.case[bad[0]]}: score {values[bad[0]]:g} is outside the metric's range [{low}, {high}]"
    if metric.worst is not None:
        mild = [i for i, s in enumerate(scores.status) if s != "ok" and values[i] != metric.worst]
        if mild:
            yield f"case {scores.case[mild[0]]}: failed, but scored {values[mild[0]]:g}, not the worst {metric.worst:g}"


def _inside(value: float, low: float | None, high: float | None) -> bool:
    # metrics are computed in float32 as a rule
    return (low is None or value >= low - 1e-5) and (high is None or value <= high + 1e-5)


def _of_mean(record: Record, again: tuple[float, float, float], redrawn: float) -> Iterator[str]:
    """Yield how a record's value and interval differ from those made again."""
    mean, low, high = again
    if record.value is None or not _close(record.value, mean):
        yield f"value is {_told(record.value)}; the mean of its per-case scores is {_told(mean)}"
    slack = redrawn * (high - low)
    for name, told, made in (("low", record.low, low), ("high", record.high, high)):
        if told is None or not (_close(told, made) or abs(told - made) <= slack):
            yield f"{name} end of the interval is {_told(told)}; from its per-case scores it is {_told(made)}"


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= CLOSE * max(1.0, abs(a), abs(b))


def _told(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.10g}"
