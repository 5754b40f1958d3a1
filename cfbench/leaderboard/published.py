"""What papers report, with sources and known traps: our own copy of the facts, in `published.yaml`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "published.yaml"


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One table of one paper."""

    #: How a suite's `published:` rows begin their `source`.
    source: str
    title: str
    dataset: str
    metrics: Sequence[str]
    #: Row name and its numbers as printed; None where the paper has none.
    rows: Sequence[tuple[str, Sequence[float | str | None]]]
    #: What one has to know before comparing.
    traps: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper and its tables."""

    key: str
    citation: str
    tables: Sequence[PaperTable]


@cache
def papers() -> tuple[Paper, ...]:
    """Return all papers."""
    import yaml

    content: Mapping[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tuple(
        Paper(key=key, citation=item["citation"], tables=tuple(_table(item, table) for table in item["tables"]))
        for key, item in content.items()
    )


def _table(paper: Mapping[str, Any], table: Mapping[str, Any]) -> PaperTable:
    return PaperTable(
        source=f"{paper['short']}, {table['where']}",
        title=table["title"],
        dataset=table["dataset"],
        metrics=tuple(table["metrics"]),
        rows=tuple((str(name), tuple(values)) for name, values in table["rows"].items()),
        traps=(*table.get("traps", ()), *paper.get("traps", ())),
    )


@cache
def traps_of(source: str) -> tuple[str, ...]:
    """Return the traps of the table that a published number says it is from; none if we do not know it."""
    found = [table for paper in papers() for table in paper.tables if _names(source, table.source)]
    return tuple(found[0].traps) if found else ()


def _names(source: str, table: str) -> bool:
    """Return whether a source begins with the table's name, and goes on with another word."""
    return source.startswith(table) and not source[len(table) : len(table) + 1].isalnum()
