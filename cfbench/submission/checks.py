"""All checks of a bundle, in the order in which trust grows, and the verdict that they add up to."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any, Literal

from cfbench import __version__
from cfbench.records import Record, records_digest
from cfbench.submission.aggregates import SET_METRIC, Checked, Metric, check_numbers, told_metrics
from cfbench.submission.archive import BundleError
from cfbench.submission.badges import Badge, badges_of
from cfbench.submission.bundle import Bundle, check_hashes
from cfbench.submission.privacy import leads_out, mapped
from cfbench.submission.schema import check_schema
from cfbench.submission.standing import Installed, Number, plan_faults, stale_numbers, suite_faults, told
from cfbench.submission.tiers import check_ranks

FORMAT = "cfbench verdict"
#: `good`; `fault`: the bundle contradicts itself or a re-run; `note`: something to know; `open`: could not be checked.
Status = Literal["good", "fault", "note", "open"]
#: Faults that are told per check.
_MOST = 50
#: Larger suites are not planned.
_MOST_CELLS = 200_000


@dataclass(frozen=True)
class Check:
    """One check: what it looked at, how it went, and where it did not."""

    name: str
    status: Status
    summary: str
    details: Sequence[str] = ()


@dataclass(frozen=True)
class Rerun:
    """What came of making numbers again. `outcome`: `agrees`, `differs`, or why it was not made again."""

    outcomes: Mapping[Number, str] = field(default_factory=dict)
    #: Where scores differ, and how.
    faults: Sequence[str] = ()
    #: What was done, in a sentence.
    summary: str = ""


@dataclass(frozen=True)
class Verdict:
    """All checks, and what follows for each number."""

    bundle: Bundle
    checks: Sequence[Check]
    numbers: Sequence[Checked] = ()
    stale: Mapping[Number, str] = field(default_factory=dict)
    rerun: Rerun = field(default_factory=Rerun)

    @property
    def good(self) -> bool:
        """Return whether no check found a fault."""
        return not any(check.status == "fault" for check in self.checks)

    def badges(self) -> Mapping[tuple[str, str | None, str | None, str | None], tuple[Badge, ...]]:
        """Return the badges of every row (dataset, task, generator, attribution) that has a number of its own."""
        rows: dict[tuple[str, str | None, str | None, str | None], list[Record]] = {}
        for record in self.bundle.records:
            cell = record.cell
            if not record.published:
                rows.setdefault((cell.dataset, cell.task, cell.generator, cell.attribution), []).append(record)
        return {row: self._of_row(some) for row, some in rows.items() if any(r.status == "ok" for r in some)}

    def _of_row(self, records: Sequence[Record]) -> tuple[Badge, ...]:
        numbers = [(r.cell, r.metric, r.view) for r in records if r.status == "ok"]
        why = [reason for r in records for reason in r.unranked]
        why += [self.stale[number] for number in numbers if number in self.stale]
        outcomes = [self.rerun.outcomes.get(number, "") for number in numbers]
        verified = self.good and "agrees" in outcomes and all(o in ("agrees", SET_METRIC) for o in outcomes)
        return badges_of(why, handed_in=True, verified=verified)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `verified.json`."""
        return {
            "format": FORMAT,
            "version": 1,
            "bundle": self.bundle.sha256,
            "cfbench": __version__,
            "good": self.good,
            "checks": [asdict(check) for check in self.checks],
            "rows": [
                {"dataset": d, "task": t, "generator": g, "attribution": a, "badges": list(badges)}
                for (d, t, g, a), badges in self.badges().items()
            ]
            if self.numbers
            else [],
            "numbers": [self._number(checked) for checked in self.numbers],
        }

    def _number(self, checked: Checked) -> dict[str, Any]:
        record = checked.record
        number = (record.cell, record.metric, record.view)
        return {
            "cell": record.cell.__dict__,
            "metric": record.metric,
            "view": record.view,
            "aggregate": checked.standing,
            "rerun": self.rerun.outcomes.get(number, ""),
            "stale": self.stale.get(number, ""),
        }


def check_form(bundle: Bundle) -> list[Check]:
    """Return whether the parts are what they claim to be; nothing else is looked at before."""
    hashes = _check("hashes", check_hashes(bundle), f"{len(bundle.entries) - 1} files have the digests of the manifest")
    schema = _check("schema", check_schema(bundle), "all JSON fits bundle.schema.json")
    if "fault" in (hashes.status, schema.status):
        return [hashes, schema]
    return [
        hashes,
        schema,
        _check("paths", _paths(bundle), "no path leads out of a folder; the suite can be planned"),
        _records(bundle),
    ]


def check_content(bundle: Bundle, installed: Installed, metrics: Mapping[str, Metric]) -> Verdict:
    """Return the verdict on a bundle of good form: suite, plan, every aggregate, ranks, and what is installed.

    `metrics` are those that are installed, by the suite's names; others are judged by the bundle's own word.
    """
    known = {name: metrics.get(name, own) for name, own in told_metrics(bundle.about).items()}
    numbers = check_numbers(bundle, known)
    stale = stale_numbers(bundle, installed)
    checks = [
        _check("suite", suite_faults(bundle), _suite_summary(bundle)),
        _check(
            "plan",
            plan_faults(bundle),
            f"{len(bundle.records)} records are the {len(bundle.plan['measurements'])} planned",
        ),
        _scores_of_means(numbers),
        *_sets(numbers),
        _ranks(bundle),
        _standing(stale, installed),
        *_marks(bundle),
    ]
    return Verdict(bundle, checks, numbers, stale)


def rerun_check(rerun: Rerun) -> Check:
    """Return how making numbers again went."""
    agreed = sum(outcome == "agrees" for outcome in rerun.outcomes.values())
    open_ = sorted({o for o in rerun.outcomes.values() if o not in ("agrees", "differs")})
    if rerun.faults:
        return _check("re-run", rerun.faults, "")
    if not agreed:
        return Check(
            "re-run", "open", rerun.summary or "not asked for: `--rerun N` makes N cases of each dataset again", open_
        )
    return Check("re-run", "good", f"{agreed} numbers agree; {rerun.summary}", open_)


def _check(name: str, faults: Sequence[str], summary: str) -> Check:
    if not faults:
        return Check(name, "good", summary)
    left = f" (and {len(faults) - _MOST} more)" if len(faults) > _MOST else ""
    return Check(name, "fault", f"{len(faults)} faults{left}" if len(faults) > 1 else faults[0], list(faults)[:_MOST])


def _paths(bundle: Bundle) -> list[str]:
    """Return paths that lead to other places of the checker's machine: planning a suite looks at the data it names."""
    settings = {name: facts["params"] for name, facts in bundle.about["metrics"].items()}
    found: list[str] = []

    def note(text: str) -> str:
        found.extend([text] if leads_out(text) else [])
        return text

    mapped([bundle.suite, settings], note)
    faults = [f"suite.json or a metric's parameter names a path: {text[:200]!r}" for text in found]
    sizes = [
        len(bundle.suite.get(name) or ()) + 1 for name in ("datasets", "tasks", "generators", "attributions", "seeds")
    ]
    return faults + ([f"a suite of about {prod(sizes)} cells"] if prod(sizes) > _MOST_CELLS else [])


def _records(bundle: Bundle) -> Check:
    try:
        records, scores = bundle.records, bundle.scores
    except BundleError as error:
        return Check("records", "fault", str(error))
    if records_digest(records) != bundle.manifest["records_digest"]:
        return Check("records", "fault", "their digest is not the one in the manifest")
    return Check(
        "records", "good", f"{len(records)} records fit their digests; {len(scores)} tables of scores can be read"
    )


def _suite_summary(bundle: Bundle) -> str:
    if bundle.manifest["redacted"]:
        return "its hash cannot be checked: paths were taken out of the suite"
    return f"the text of {bundle.about['suite']} has the hash {bundle.about['suite_hash'][:12]}"


def _scores_of_means(numbers: Sequence[Checked]) -> Check:
    faults = [f"{told(n.record)}: {fault}" for n in numbers for fault in n.faults]
    again = sum(n.standing == "recomputed" for n in numbers)
    return _check("aggregates", faults, f"{again} means with their intervals follow from per-case scores")


def _sets(numbers: Sequence[Checked]) -> list[Check]:
    sets = [told(n.record) for n in numbers if n.standing == "set metric"]
    return [Check("set metrics", "open", f"{len(sets)} numbers: {SET_METRIC}", sets)] if sets else []


def _ranks(bundle: Bundle) -> Check:
    found = check_ranks(bundle)
    faults = [f"{column.where}: {fault}" for column in found for fault in column.faults]
    again = sum(column.recomputed for column in found)
    summary = f"tiers of {len(found)} columns follow from differences; of {again} these from per-case scores"
    return _check("ranks", faults, summary)


def _standing(stale: Mapping[Number, str], installed: Installed) -> Check:
    if installed.problem:
        return Check("installed", "open", f"this installation cannot plan the suite: {installed.problem}")
    if stale:
        details = [f"{n[0].name}: {n[1]} of {n[2]}: {why}" for n, why in stale.items()]
        return Check("installed", "note", f"{len(stale)} numbers are stale", details[:_MOST])
    absent = f"; not on this machine: {', '.join(sorted(installed.absent))}" if installed.absent else ""
    return Check("installed", "good", f"this installation plans the same work for every number{absent}")


def _marks(bundle: Bundle) -> list[Check]:
    marks = list(bundle.manifest["marks"])
    if bundle.pseudonymous:
        names = ", ".join(sorted(bundle.pseudonymous))
        marks.append(f"cases of {names} have pseudonyms: ends of intervals are checked to 5 % of their width")
    return [Check("marks", "note", "; ".join(marks), marks)] if marks else []
