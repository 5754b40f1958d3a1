"""Ranked rows that do no better than a trivial answer: a first place among methods may still be worth nothing.

Which controls a row must beat is read off the run itself: those that the truth beats in the same column (two-sided
paired test over patients, p <= 0.05). So nobody is held against an adversarial image by the flips of the very
classifier that it was made for, nor against the identity by how little it changes. Where no truth is known, maps are
held against every control, and validity against those that change nothing of meaning.
"""

from collections.abc import Mapping

from cfbench.leaderboard.cells import Unbeaten
from cfbench.leaderboard.ranks import ALPHA, Group, Pair, Ranks

#: How the sentinels that answer perfectly on phantoms are called; `truth-map`, `truth-sweep` and the like are of them.
TRUTH = "truth"
#: What a valid answer must beat where the truth is not known.
_CHANGE_NOTHING = ("identity", "blur")


def unbeaten(ranks: Ranks, group: Group, row: str, direction: str, role: str = "") -> tuple[Unbeaten, ...]:
    """Return the controls of a column that a ranked row is not proven to beat, the hardest first."""
    sign = {"higher": 1.0, "lower": -1.0}.get(direction)
    if sign is None:
        return ()
    found = []
    for control in _floors(ranks, group, sign, role):
        pair = ranks.pair(group, row, control)
        if pair is not None and not _beats(pair, sign):
            worse = _beats(pair.turned(), sign)
            found.append(Unbeaten(control, worse, pair.difference, pair.low, pair.high, pair.p))
    return tuple(sorted(found, key=lambda one: sign * one.difference))


def _floors(ranks: Ranks, group: Group, sign: float, role: str) -> list[str]:
    """Return the controls that every row of a column must beat."""
    rows = ranks.controls.get(group, ())
    truths = [row for row in rows if _name(row) == TRUTH or _name(row).startswith(f"{TRUTH}-")]
    trivial = [row for row in rows if row not in truths]
    if truths:
        pairs: Mapping[str, Pair | None] = {row: ranks.pair(group, truths[0], row) for row in trivial}
        return [row for row, pair in pairs.items() if pair is not None and _beats(pair, sign)]
    if group[2] == "map":
        return trivial
    return [row for row in trivial if role == "validity" and _name(row) in _CHANGE_NOTHING]


def _beats(pair: Pair, sign: float) -> bool:
    return pair.p <= ALPHA and sign * pair.difference > 0


def _name(row: str) -> str:
    return row.rpartition(" / ")[2]
