"""Borders as smooth paths across an image, found by dynamic programming."""

import numpy as np
from numpy.typing import NDArray

from cfbench_phantoms.oracles.edges import Profile

Picture = NDArray[np.float64]


def best_path(score: Picture, among: NDArray[np.intp]) -> tuple[Profile, float]:
    """Return the path with the highest score: its row (to a fraction of a pixel) among the given ones, per column.

    From one column to the next it moves one row at most, which costs a little. The second number tells how clear the
    path is: its mean score / the root mean square of all scores.
    """
    field = score[among]
    scale = float(np.abs(field).max()) or 1.0
    field = field / scale
    n, m = field.shape
    best, came = field[:, 0].copy(), np.zeros((m, n), np.intp)
    here, moves = np.arange(n), np.full((3, n), -np.inf)  # from the row above, from this one, from the one below
    for j in range(1, m):
        moves[0, 1:], moves[1], moves[2, :-1] = best[:-1] - 0.1, best, best[1:] - 0.1
        step = np.argmax(moves, 0)
        came[j] = here + step - 1
        best = moves[step, here] + field[:, j]
    rows = np.empty(m, np.intp)
    rows[-1] = int(np.argmax(best))
    for j in range(m - 1, 0, -1):
        rows[j - 1] = came[j, rows[j]]
    spread = float(np.sqrt(np.mean(field * field))) or 1.0
    return among[0] + rows + _peak(field, rows), float(field[rows, np.arange(m)].mean()) / spread


def _peak(field: Picture, rows: NDArray[np.intp]) -> Profile:
    """Return how far the peak lies off these rows, by a parabola through three pixels; within half a pixel."""
    at = np.clip(rows, 1, len(field) - 2)
    j = np.arange(field.shape[1])
    before, here, after = field[at - 1, j], field[at, j], field[at + 1, j]
    bend = before - 2 * here + after
    off = np.divide(0.5 * (before - after), bend, out=np.zeros_like(bend), where=bend < 0)
    return np.where(at == rows, np.clip(off, -0.5, 0.5), 0)
