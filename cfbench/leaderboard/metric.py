"""The page of one metric: what it is, what it is not, and whether it passed its own tests."""

import re
from collections.abc import Sequence
from typing import Any

from cfbench.leaderboard.runs import Run, section
from cfbench.leaderboard.text import paragraphs
from cfbench.records import Record, flat_params

_TRAP = re.compile(r"\s*(Traps?|Caution|Beware)\b", re.IGNORECASE)
#: What the heading says already.
_LED = re.compile(r"\s*Traps?:\s*", re.IGNORECASE)


def metric_page(metric: str, uses: Sequence[tuple[Run, str]]) -> dict[str, Any]:
    """Return what the page of a metric shows; `uses` are the runs that measured it, and their pages."""
    about = next((section(run.metrics, metric) for run, _ in uses if section(run.metrics, metric)), {})
    definition = about.get("definition")
    parts = paragraphs(definition) if isinstance(definition, str) else []
    return {
        "metric": metric,
        "about": about,
        "definition": [part for part in parts if not _TRAP.match(part)],
        "traps": [_LED.sub("", part) for part in parts if _TRAP.match(part)],
        "facts": _facts(about, [record for run, _ in uses for record in run.records if record.metric == metric]),
        "validity": _validity(about),
        "uses": uses,
    }


def _facts(about: Any, records: Sequence[Record]) -> list[tuple[str, str]]:
    directions = {"higher": "higher is better", "lower": "lower is better", "none": "neither direction is better"}
    facts: dict[str, object] = {
        "plugin": f"{about['use']}, version {about.get('version')}" if about.get("use") else "",
        "direction": directions.get(records[0].direction, "") if records else "",
        "unit": about.get("unit"),
        "range": _range(about.get("range")),
        "read on": ", ".join(sorted({record.view for record in records})),
        "fewest lines": about.get("minimum"),
        "interval": about.get("interval"),
        "a line without an answer counts as": about.get("worst"),
        "role": about.get("role"),
        "source": about.get("citation"),
    }
    facts |= {f"parameter {name}": value for name, value in list(flat_params(section(about, "params")).items())[:50]}
    facts |= {f"file {name}": value for name, value in list(section(about, "files").items())[:20]}
    return [(name, str(value)) for name, value in facts.items() if value not in (None, "", [])]


def _range(value: object) -> str:
    if not isinstance(value, list) or len(value) != 2:
        return ""
    low, high = ("unbounded" if end is None else str(end) for end in value)
    return f"{low} to {high}"


def _validity(about: Any) -> tuple[str, str]:
    """Return a word and a sentence on whether its numbers may be ranked."""
    if not about:
        return "unknown", "The run did not say which version of which plugin this is."
    if about.get("barred"):
        return "barred", f"Its numbers are shown and not ranked: {about['barred']}"
    if about.get("tested"):
        return "passed", "It preferred the truth to every sentinel in its role (`cfbench doctor metrics`)."
    return "untested", "This version has not been put to the test of `cfbench doctor metrics`."
