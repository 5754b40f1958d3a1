"""One row of a board against another: every number of both, with the tested difference and what each line says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cfbench.leaderboard.board import Board, Head, Line
from cfbench.leaderboard.cells import Cell
from cfbench.leaderboard.lines import Counts, better_by, count, lines_of, place_of, shared, widest
from cfbench.leaderboard.ranks import Pair
from cfbench.leaderboard.runs import Run


@dataclass(frozen=True, kw_only=True)
class Versus:
    """One column of two rows. Differences are the first's value minus the second's."""

    head: Head
    first: Cell
    second: Cell
    #: How the rank step tested it; nothing if it did not.
    pair: Pair | None
    #: (case, target), first's score, second's score, of the lines on which both have one.
    lines: Sequence[tuple[tuple[str, float | None], float, float]]

    @property
    def direction(self) -> str:
        """Return `higher`, `lower` or `none`."""
        return self.head.column.direction

    @cached_property
    def counts(self) -> Counts | None:
        """Return wins, losses and ties over the lines; nothing without lines or a better direction."""
        return count(self.lines, self.direction) if self.lines and self.direction != "none" else None

    @property
    def verdict(self) -> str:
        """Return `better`, `worse` or `same` of the first; empty if it was not tested."""
        if self.pair is None or self.direction == "none":
            return ""
        if not self.pair.significant:
            return "same"
        return "better" if better_by(self.pair.difference, 0.0, self.direction) > 0 else "worse"

    @property
    def same_number(self) -> bool:
        """Return whether both show the one number of a generator that they share."""
        return self.first.inherited and self.second.inherited and self.first is self.second

    def widest(self, most: int) -> Mapping[str, list[tuple[str, float | None, float, float]]]:
        """Return the lines on which the first is `ahead` and `behind` by most."""
        return widest(self.lines, self.direction, most) if self.direction != "none" else {}


def versus(run: Run, board: Board, first: Line, second: Line, column: int) -> Versus:
    """Return one column of two rows."""
    group, one = place_of(board, first, column)
    other_group, other = place_of(board, second, column)
    same = group == other_group and one != other
    return Versus(
        head=board.heads[column],
        first=first.cells[column],
        second=second.cells[column],
        pair=run.ranks.pair(group, one, other) if same else None,
        lines=shared(lines_of(run, board, first, column), lines_of(run, board, second, column)) if same else (),
    )


def best_of(board: Board, column: int, but: Line) -> Line | None:
    """Return the best ranked row of a column, the row itself left out; nothing where none is ranked."""
    direction = board.heads[column].column.direction
    ranked = [line for line in board.lines if line is not but and line.cells[column].tier]
    own = (but.generator, but.cells[column].inherited)
    others = [line for line in ranked if not own[1] or (line.generator, line.cells[column].inherited) != own]
    if direction not in ("higher", "lower") or not others:
        return None
    return min(others, key=lambda line: (-1 if direction == "higher" else 1) * (line.cells[column].value or 0.0))
