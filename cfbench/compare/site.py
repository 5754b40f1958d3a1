"""The leaderboard's site with what takes statistics: corrected pairs, and what changed since the accepted run."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cfbench.compare.changes import changes
from cfbench.compare.pairs import corrected
from cfbench.leaderboard.accepted import is_accepted
from cfbench.leaderboard.history import History
from cfbench.leaderboard.runs import Run, read_runs
from cfbench.leaderboard.site import write_site


def build(
    folders: Sequence[Path],
    out: Path,
    *,
    unverified: Iterable[Path] = (),
    verified: Iterable[Path] = (),
    private: bool = False,
    accepted: Path | None = None,
) -> Path:
    """Write the site of these run folders into `out` and return the path of its `index.html`.

    Several runs of one suite (by its name) get a page of their history. Of those that ran the very same suite (by its
    hash) only the newest is shown in full. Bundles that were handed in are neither.

    Args:
        folders: of runs.
        out: where the pages go; pages of an earlier build that this one does not make are removed.
        unverified: folders that were handed in and not checked.
        verified: folders that were handed in, and agreed with a re-run.
        private: show images that may not be published, for their owner alone.
        accepted: the run that the newest of its suite is held against; without it, the last before it in which
            `accept` wrote so, or else the oldest.

    Raises:
        StoreError: a folder is not that of a run.
    """
    doubted, trusted = frozenset(unverified), frozenset(verified)
    read = list(read_runs(folders, doubted, verified=trusted, pictures=False))
    nights = _nights([run for run in read if not run.badge])
    histories = [history_of(some, accepted) for some in nights]
    superseded = {run.folder for run in _superseded(nights)}
    shown = [folder for folder in folders if folder not in superseded]
    full = read_runs(shown, doubted, verified=trusted, private=private)
    return write_site([corrected(run) for run in full], out, histories)


def history_of(runs: Sequence[Run], accepted: Path | None = None) -> History:
    """Return the history of two or more runs of a suite, oldest first."""
    earlier = range(len(runs) - 1)
    named = [i for i in earlier if accepted is not None and runs[i].folder.resolve() == accepted.resolve()]
    told = named or [i for i in earlier if is_accepted(runs[i])]
    reference = told[-1] if told else 0
    found = changes(runs[reference], runs[-1])
    return History(runs=runs, reference=reference, accepted=bool(told), changes=found)


def _nights(runs: Sequence[Run]) -> list[list[Run]]:
    """Return the runs of suites that ran several times, oldest first."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.name, []).append(run)
    return [sorted(some, key=lambda run: run.finished) for some in groups.values() if len(some) > 1]


def _superseded(nights: Sequence[Sequence[Run]]) -> list[Run]:
    """Return the runs after which the very same suite was run again."""
    found = []
    for some in nights:
        for i, run in enumerate(some):
            own = run.about.get("suite_hash")
            if own and any(later.about.get("suite_hash") == own for later in some[i + 1 :]):
                found.append(run)
    return found
