"""One number of a table: the records of its seeds, pooled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from cfbench import records as rec

#: How an interval of several seeds was made.
OVER_SEEDS = "for other seeds and other patients"
IMAGE_UNIT = "the image is the unit of resampling: patients are unknown"

#: A record's status, or `partial` (some seeds have no number), or `absent` (no record at all).
Status = Literal["ok", "undefined", "skipped", "failed", "partial", "absent"]
MARKS: Mapping[str, str] = {"undefined": "n/a", "skipped": "skipped", "failed": "failed", "absent": "not run"}


@dataclass(frozen=True)
class Unbeaten:
    """A trivial answer that a row is not proven to be better than, and the paired test of the two."""

    control: str
    #: Whether the row is proven to be worse; otherwise the two cannot be told apart.
    worse: bool
    #: The row minus the control, with its 95 % interval and two-sided p.
    difference: float
    low: float
    high: float
    p: float

    @property
    def verdict(self) -> str:
        """Return `worse than` or `no better than` the control."""
        return f"{'worse' if self.worse else 'no better'} than {self.control}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table, or the reason why there is none. Seeds are pooled by their mean."""

    status: Status
    #: Why there is no number, or (status `partial`) why some seeds have none.
    reason: str = ""
    value: float | None = None
    #: 95 % interval: of one seed over its patients, or (`OVER_SEEDS`) of the mean of several.
    low: float | None = None
    high: float | None = None
    #: How the interval was made.
    interval: str = "none"
    #: Smallest and largest value over the seeds, if there are several.
    spread: tuple[float, float] | None = None
    seeds: int = 0
    #: Lines measured, of how many patients; the fewest over the seeds.
    n: int = 0
    patients: int = 0
    #: Share of lines that have an answer; the smallest over the seeds.
    coverage: float | None = None
    notes: tuple[str, ...] = ()
    #: The paper that it was taken from; empty = it was measured.
    published: str = ""
    #: Why it takes no part in rankings; empty = it does.
    unranked: tuple[str, ...] = ()
    #: Its rank tier, 1 being the best.
    tier: int | None = None
    #: Controls that it does not beat though it is ranked, the hardest first.
    unbeaten: tuple[Unbeaten, ...] = ()
    #: Whether it was measured on the row's generator and holds for all methods that use it.
    inherited: bool = False

    @property
    def extent(self) -> tuple[float, float] | None:
        """Return the interval, or else the spread over seeds."""
        if self.low is not None and self.high is not None:
            return self.low, self.high
        return self.spread


ABSENT = Cell(status="absent", reason="no record: it was not planned, or the run ended before it")


def pool(records: Sequence[rec.Record]) -> Cell:
    """Return one cell for the records of its seeds: the mean of their values, never of their intervals."""
    if not records:
        return ABSENT
    measured = [r for r in records if r.status == "ok" and r.value is not None]
    missing = [r for r in records if r not in measured]
    if not measured:
        return _missing(missing)
    values = [r.value for r in measured if r.value is not None]
    one = measured[0] if len(measured) == len(records) == 1 else None
    return Cell(
        status="partial" if missing else "ok",
        reason=_reasons(missing) if missing else "",
        value=fmean(values),
        low=one.low if one else None,
        high=one.high if one else None,
        interval=one.interval if one else "none",
        spread=None if one else (min(values), max(values)),
        seeds=len(values),
        n=min(r.n for r in measured),
        patients=min(r.patients for r in measured),
        coverage=min((r.coverage for r in measured if r.coverage is not None), default=None),
        notes=_notes(measured),
        published=next((r.published for r in measured if r.published), ""),
        unranked=tuple(dict.fromkeys(reason for r in measured for reason in r.unranked)),
    )


def _missing(records: Sequence[rec.Record]) -> Cell:
    """Return the worst of what happened: a failure is not hidden by a skip of another seed."""
    statuses: tuple[Status, ...] = ("failed", "skipped", "undefined")
    worst: Status = next((s for s in statuses if any(r.status == s for r in records)), "undefined")
    told = [r for r in records if r.status == worst] or records
    reason = told[0].reason if len({r.reason for r in told}) == 1 else _reasons(told)
    return Cell(status=worst, reason=reason or "no reason was recorded", notes=_notes(records))


def _reasons(records: Iterable[rec.Record]) -> str:
    ordered = sorted(records, key=lambda r: r.cell.seed)
    return "; ".join(f"seed {r.cell.seed} {MARKS.get(r.status, r.status)}: {r.reason}" for r in ordered)


def _notes(records: Sequence[rec.Record]) -> tuple[str, ...]:
    notes = dict.fromkeys(note for r in records for note in r.notes)
    if any(r.unit == "image" for r in records) and not any("image is the unit" in note for note in notes):
        notes[IMAGE_UNIT] = None
    return tuple(notes)
