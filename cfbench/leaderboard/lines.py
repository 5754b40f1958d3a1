"""The lines that two rows answer alike: each one's score of each case under each target."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from cfbench.leaderboard.board import Board, Line
from cfbench.leaderboard.ranks import Group
from cfbench.leaderboard.runs import Run
from cfbench.leaderboard.scores import Scores, read_scores
from cfbench.records import Record

#: Differences below this part of the larger score are ties: the last digits differ from machine to machine.
_TIE = 1e-9


@dataclass(frozen=True)
class Lines:
    """One row's scores in one column, the mean over its seeds."""

    #: (case, target) of each line.
    keys: Sequence[tuple[str, float | None]]
    scores: Sequence[float | None]


@dataclass(frozen=True)
class Counts:
    """On how many lines the first row is better, worse, and the same."""

    wins: int
    losses: int
    ties: int


def place_of(board: Board, line: Line, column: int) -> tuple[Group, str]:
    """Return what `ranks.json` calls a cell: its column, and its row. Inherited cells are their generator's."""
    head, cell = board.heads[column].column, line.cells[column]
    parts = (line.generator,) if cell.inherited else (line.generator, line.attribution)
    task = None if cell.inherited or not line.attribution else board.task
    return (board.dataset, task, head.view, head.metric), " / ".join(part for part in parts if part)


def lines_of(run: Run, board: Board, line: Line, column: int) -> Lines | None:
    """Return a cell's scores, line by line; nothing if it has none, or its seeds answer different lines."""
    head, (group, _) = board.heads[column].column, place_of(board, line, column)
    attribution = None if line.cells[column].inherited else line.attribution
    records = {
        record.cell.seed: record
        for record in run.by_row.get((board.dataset, line.generator, attribution), ())
        if (record.cell.task, record.view, record.metric) == (group[1], head.view, head.metric)
    }
    return mean_lines(run, list(records.values()))


def mean_lines(run: Run, records: Iterable[Record]) -> Lines | None:
    """Return the mean scores of the records of several seeds."""
    found = [read_scores(run.folder, record) if record.status == "ok" else None for record in records]
    scores = [each for each in found if each is not None]
    if not scores or len(scores) < len(found) or any(keys_of(each) != keys_of(scores[0]) for each in scores):
        return None
    columns = zip(*(each.score for each in scores), strict=True)
    return Lines(keys_of(scores[0]), [_mean(values) for values in columns])


def keys_of(scores: Scores) -> list[tuple[str, float | None]]:
    """Return what each line is about."""
    return list(zip(scores.case, scores.target, strict=True))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def shared(first: Lines | None, second: Lines | None) -> list[tuple[tuple[str, float | None], float, float]]:
    """Return the lines on which both have a score, if both answer the same lines."""
    if first is None or second is None or list(first.keys) != list(second.keys):
        return []
    three = zip(first.keys, first.scores, second.scores, strict=True)
    return [(key, a, b) for key, a, b in three if a is not None and b is not None]


def better_by(a: float, b: float, direction: str) -> float:
    """Return how much better a is than b; 0 for a tie."""
    gap = a - b
    if abs(gap) <= _TIE * max(abs(a), abs(b)):
        return 0.0
    return -gap if direction == "lower" else gap


def count(some: Iterable[tuple[object, float, float]], direction: str) -> Counts:
    """Count wins, losses and ties of the first over the second."""
    gaps = [better_by(a, b, direction) for _, a, b in some]
    wins, losses = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    return Counts(wins, losses, len(gaps) - wins - losses)


def widest(
    some: Sequence[tuple[tuple[str, float | None], float, float]], direction: str, most: int
) -> Mapping[str, list[tuple[str, float | None, float, float]]]:
    """Return the lines on which the first is ahead by most, and behind by most."""
    ordered = sorted(some, key=lambda each: -better_by(each[1], each[2], direction))
    ahead = [each for each in ordered[:most] if better_by(each[1], each[2], direction) > 0]
    behind = [each for each in ordered[::-1][:most] if better_by(each[1], each[2], direction) < 0]
    return {"ahead": [(*key, a, b) for key, a, b in ahead], "behind": [(*key, a, b) for key, a, b in behind]}
