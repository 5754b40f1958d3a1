"""How a bundle stands to what is installed: the same suite, the same versions, the same work behind every number."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cfbench.records import Cell, Record
from cfbench.submission.bundle import Bundle

Number = tuple[Cell, str, str]
#: Keys of a suite that its digest leaves out (`cfbench.suite.Suite.sha256`).
_LEFT_OUT = ("metrics", "figures", "published")


@dataclass(frozen=True)
class Installed:
    """What this installation makes of the bundle's suite."""

    #: Why it can make nothing of it; empty = it can.
    problem: str = ""
    #: (kind of component, plugin's name) to its version.
    versions: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: Every number that it would make, to the key of its work; none where it cannot be had here.
    keys: Mapping[Number, str | None] = field(default_factory=dict)
    #: Datasets whose files are not on this machine: keys of their work cannot be told.
    absent: frozenset[str] = frozenset()


def suite_faults(bundle: Bundle) -> list[str]:
    """Return how the bundle's suite text contradicts the hash that names it."""
    told, about = bundle.manifest["suite_hash"], bundle.about["suite_hash"]
    faults = [] if told == about else ["bundle.json and run.json name different suites"]
    config = {key: value for key, value in bundle.suite.items() if key not in _LEFT_OUT}
    if not bundle.manifest["redacted"] and sha256(json.dumps(config, sort_keys=True).encode()).hexdigest() != about:
        faults.append("suite.json is not the suite that the hash names")
    if any(record.suite != bundle.about["suite"] for record in bundle.records):
        faults.append("records are of another suite than run.json says")
    return faults


def plan_faults(bundle: Bundle) -> list[str]:
    """Return how records differ from the bundle's own plan: numbers left out, added, or made by other work."""
    planned = {_number(item): item["key"] for item in bundle.plan["measurements"]}
    there: dict[Number, Record] = {}
    faults = []
    for record in bundle.records:
        number = (record.cell, record.metric, record.view)
        faults += [f"{told(record)}: there twice"] if number in there else []
        there[number] = record
    faults += [f"{_name(number)}: planned, and not in the records" for number in planned.keys() - there.keys()]
    for number, record in there.items():
        if number not in planned:
            faults.append(f"{told(record)}: in the records, and not planned")
        elif record.key is not None and record.key != planned[number]:
            faults.append(f"{told(record)}: made by other work than was planned")
    used = {record.key for record in bundle.records}
    faults += [f"scores/{key}.parquet: no record refers to it" for key in bundle.scores if key not in used]
    return sorted(faults)


def stale_numbers(bundle: Bundle, installed: Installed) -> Mapping[Number, str]:
    """Return the numbers that this installation would make otherwise, each with why."""
    found = {}
    for record in bundle.records:
        number = (record.cell, record.metric, record.view)
        why = next(_why_stale(bundle, record, installed), "")
        if why and record.status == "ok" and not record.published:
            found[number] = f"stale: {why}"
    return found


def _why_stale(bundle: Bundle, record: Record, installed: Installed) -> Iterator[str]:
    for kind, name, facts in _parts(bundle.about, record):
        use, version = str(facts.get("use")), facts.get("version")
        now = installed.versions.get((kind, use))
        if now is not None and now != version:
            yield f"made by version {version} of {use}; installed is version {now}"
        elif now is None:
            yield f"{name} uses {use}, which is not installed here"
    number = (record.cell, record.metric, record.view)
    if installed.problem or record.cell.dataset in installed.absent:
        return
    if number not in installed.keys:
        yield "the suite, as this installation reads it, has no such number"
    elif (here := installed.keys[number]) is not None and here != record.key:
        yield "this installation would make it by other work (another version of cfbench, a plugin or the data)"


def _parts(about: Mapping[str, Any], record: Record) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield kind, name and facts of what a number stands on."""
    components, cell = about["components"], record.cell
    wanted = [
        ("metrics", record.metric, about["metrics"]),
        ("datasets", cell.dataset, about["datasets"]),
        ("generators", cell.generator, components.get("generators", {})),
        ("attributions", cell.attribution, components.get("attributions", {})),
    ]
    for kind, name, known in wanted:
        if name is not None and name in known:
            yield kind, name, known[name]


def _number(item: Mapping[str, Any]) -> Number:
    return Cell(**item["cell"]), str(item["metric"]), str(item["view"])


def told(record: Record) -> str:
    """Return how a reader finds a record."""
    return _name((record.cell, record.metric, record.view))


def _name(number: Number) -> str:
    return f"{number[0].name}: {number[1]} of {number[2]}"
