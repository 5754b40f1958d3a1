"""What is expected of a metric in its role, and what the trial found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cfbench.statistics import holm
from cfbench_doctor.trial import ANSWERS, MAPS

#: A preference counts if the paired test gives it a p-value of at most this, corrected over the metric's orderings.
ALPHA = 0.05
#: Roles in which a metric must not prefer a sentinel to the truth.
HELD_TO_TRUTH = ("validity", "realism", "localisation")


@dataclass(frozen=True)
class Ordering:
    """How a metric sees one sentinel against the truth, on one phantom."""

    dataset: str
    view: str
    sentinel: str
    #: `truth` (it prefers the truth), `tie`, or `sentinel`.
    prefers: str
    #: Corrected over all orderings of the metric.
    p: float


def orderings(ranks: Iterable[Mapping[str, Any]], directions: Mapping[str, str]) -> dict[str, list[Ordering]]:
    """Return metric to its orderings, read off the paired differences of a trial's `ranks.json`.

    The p-values of a metric are corrected over all its orderings (`holm`): among two dozen of them one would else come
    out wrong by chance, and bar a metric that has no preference.
    """
    found: dict[str, list[_Tested]] = {}
    for group in ranks:
        tests = (_tested(group, pair, directions[group["metric"]]) for pair in group["pairs"])
        found.setdefault(group["metric"], []).extend(test for test in tests if test)
    return {metric: _corrected(tests) for metric, tests in found.items() if tests}


@dataclass(frozen=True)
class _Tested:
    """One paired test of the truth against a sentinel."""

    dataset: str
    view: str
    sentinel: str
    #: How much better the truth is, by the metric's direction.
    gain: float
    p: float


def _tested(group: Mapping[str, Any], pair: Mapping[str, Any], direction: str) -> _Tested | None:
    names = [pair["a"], pair["b"]]
    truth = next((i for i, name in enumerate(names) if _plain(name) in (ANSWERS[-1], MAPS[-1])), None)
    if truth is None:
        return None
    gain = pair["difference"] * (1 if truth == 0 else -1) * (1 if direction == "higher" else -1)
    return _Tested(group["dataset"], group["view"], names[1 - truth], gain, pair["p"])


def _corrected(tests: Sequence[_Tested]) -> list[Ordering]:
    adjusted = holm(np.array([test.p for test in tests], dtype=np.float64)).tolist()
    return [
        Ordering(test.dataset, test.view, test.sentinel, _preferred(test.gain, p), p)
        for test, p in zip(tests, adjusted, strict=True)
    ]


def _preferred(gain: float, p: float) -> str:
    if not p <= ALPHA or gain == 0:  # also if p is NaN
        return "tie"
    return "truth" if gain > 0 else "sentinel"


def _plain(name: str) -> str:
    return name.removesuffix("-sweep")


def barred(metric: str, role: str, found: Sequence[Ordering]) -> str:
    """Return why a metric is not to be ranked, or nothing."""
    wrong = [o for o in found if o.prefers == "sentinel"]
    if role not in HELD_TO_TRUTH or not wrong:
        return ""
    told = sorted({f"{o.sentinel} on {o.dataset}" for o in wrong})
    more = f" and {len(told) - 3} more" if len(told) > 3 else ""
    return (
        f"{metric} failed its own test (`cfbench doctor metrics`): it prefers {', '.join(told[:3])}{more} to the truth"
    )
