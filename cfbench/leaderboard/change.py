"""How one number of a run differs from that of an earlier run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cfbench.leaderboard.cells import Cell
from cfbench.leaderboard.ranks import Place

#: `worse` and `lost` are regressions.
Verdict = Literal["worse", "lost", "better", "same", "new", "gone", "untested"]
MEANING = {
    "worse": "regression",
    "lost": "regression: it was measured, and is not any more",
    "better": "improvement",
    "same": "no difference that can be told",
    "new": "was not measured before",
    "gone": "not measured this time",
    "untested": "no interval and no common cases, so nothing was tested",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One number of two runs. Differences are later minus earlier."""

    place: Place
    direction: str
    before: Cell
    after: Cell
    verdict: Verdict
    #: `paired` over the same cases, by `intervals` that do not overlap, or `none`.
    by: Literal["paired", "intervals", "none"] = "none"
    low: float | None = None
    high: float | None = None
    #: After Holm over all paired tests of the two runs.
    p: float | None = None

    @property
    def row(self) -> str:
        """Return the row's name, such as `dae / flip`."""
        return self.place[4] or "data"

    @property
    def difference(self) -> float | None:
        """Return later minus earlier."""
        if self.before.value is None or self.after.value is None:
            return None
        return self.after.value - self.before.value

    @property
    def reason(self) -> str:
        """Return why there is no number any more; empty if there is."""
        return self.after.reason if self.after.value is None else ""

    @property
    def regression(self) -> bool:
        """Return whether it is one."""
        return self.verdict in ("worse", "lost")


def worst_first(changes: Sequence[Change]) -> list[Change]:
    """Return the changes in the order of `MEANING`."""
    return sorted(changes, key=lambda change: list(MEANING).index(change.verdict))
