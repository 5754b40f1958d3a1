"""A run folder, read for showing. Everything in it may come from a stranger."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cfbench.errors import StoreError
from cfbench.leaderboard.figures import ShownFigure, read_figures
from cfbench.leaderboard.gallery import Gallery, read_gallery
from cfbench.leaderboard.ranks import Ranks, read_ranks
from cfbench.leaderboard.text import slug
from cfbench.records import Record, read_records

#: Larger descriptions are refused: they are a few kilobytes.
_MOST_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder."""

    #: Unique among the runs of a site.
    slug: str
    folder: Path
    #: `run.json`.
    about: Mapping[str, Any]
    #: `suite.json`: the suite as it was resolved, in the order in which it was written.
    suite: Mapping[str, Any]
    records: Sequence[Record]
    gallery: Gallery
    figures: Sequence[ShownFigure]
    ranks: Ranks
    #: `costs.json`: what each cell's own steps took.
    costs: Sequence[Mapping[str, Any]]
    #: Whether its numbers were handed in and nobody has checked them.
    unverified: bool = False
    #: Whether its numbers were handed in, and a re-run of a sample of its cases agreed.
    verified: bool = False

    @property
    def name(self) -> str:
        """Return the suite's name."""
        return str(self.about.get("suite") or (self.records[0].suite if self.records else self.slug))

    @property
    def title(self) -> str:
        """Return its title, or else its name."""
        return str(self.about.get("title") or self.name)

    @cached_property
    def by_row(self) -> Mapping[tuple[str, str | None, str | None], Sequence[Record]]:
        """Return the records by dataset, generator and attribution."""
        found: dict[tuple[str, str | None, str | None], list[Record]] = {}
        for record in self.records:
            cell = record.cell
            found.setdefault((cell.dataset, cell.generator, cell.attribution), []).append(record)
        return found

    @property
    def badge(self) -> str:
        """Return what a reader has to know of its numbers; nothing of a run of one's own."""
        return "self-reported" if self.unverified else "verified" if self.verified else ""

    @property
    def finished(self) -> str:
        """Return when it ended, as an ISO date and time; empty if it does not say so."""
        return str(self.about.get("finished") or "")

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Return what the run says of its metrics, by name."""
        return section(self.about, "metrics")


def section(about: object, *path: str) -> Mapping[str, Any]:
    """Return a nested mapping, empty if any part of the path is missing or no mapping."""
    found = about
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def read_runs(
    folders: Sequence[Path],
    unverified: Iterable[Path] = (),
    *,
    verified: Iterable[Path] = (),
    private: bool = False,
    pictures: bool = True,
) -> Iterator[Run]:
    """Read run folders.

    Args:
        folders: of runs, or of bundles that were handed in.
        unverified: those of them that were handed in and not checked.
        verified: those of them that were handed in, and agreed with a re-run of a sample of their cases.
        private: also read images that may not be published.
        pictures: read the gallery and the figures; without them a run is numbers alone.

    Raises:
        StoreError: one is no run folder.
    """
    taken: dict[str, int] = {}
    doubted, trusted = frozenset(unverified), frozenset(verified)
    for folder in folders:
        about, records = _json(folder / "run.json", dict), read_records(folder / "records.jsonl")
        name = slug(str(about.get("suite") or (records[0].suite if records else folder.name)))
        taken[name] = taken.get(name, 0) + 1
        stated = section(about, "datasets").items()
        closed = [k for k, v in stated if isinstance(v, Mapping) and v.get("redistributable") is False]
        yield Run(
            slug=name if taken[name] == 1 else f"{name}-{taken[name]}",
            folder=folder,
            about=about,
            suite=_json(folder / "suite.json", dict),
            records=records,
            gallery=read_gallery(folder, closed, private=private) if pictures else Gallery(),
            figures=read_figures(folder, private=private) if pictures else (),
            ranks=read_ranks(folder),
            costs=[item for item in _json(folder / "costs.json", list) if isinstance(item, Mapping)],
            unverified=folder in doubted,
            verified=folder in trusted and folder not in doubted,
        )


def _json(path: Path, kind: type) -> Any:
    """Return a JSON file's content, empty if there is no file. Raises StoreError if it is something else."""
    if not path.is_file():
        return kind()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"larger than {_MOST_BYTES >> 20} MiB")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not written by a run ({error}); run the suite again to rewrite it") from error
    if not isinstance(found, kind):
        raise StoreError(f"{path}: expected a JSON {kind.__name__}, found {type(found).__name__}")
    return found
