"""Badges: what a reader may think of a row before reading its numbers. Needs nothing heavy: the site asks for them."""

from collections.abc import Iterable
from typing import Literal

#: From the one that a reader has to know first.
Badge = Literal["stale", "circular", "self-reported", "verified"]
MEANING = {
    "stale": "other code, another version or another suite than the one that is installed made it",
    "circular": "what judges it has learnt from what it judges",
    "self-reported": "handed in; aggregates fit its per-case scores, nobody has made those again",
    "verified": "a random sample of its cases was made again and agreed",
}


def badges_of(unranked: Iterable[str], *, handed_in: bool, verified: bool) -> tuple[Badge, ...]:
    """Return the badges of a row.

    Args:
        unranked: why its numbers take no part in rankings (`Record.unranked`).
        handed_in: whether it came in a bundle; a run of one's own needs no word about who made it.
        verified: whether each of its numbers that can be checked was, by a re-run.
    """
    why = tuple(unranked)
    found: list[Badge] = ["stale"] if any(one.startswith("stale") for one in why) else []
    found += ["circular"] if any(one.startswith("circular") for one in why) else []
    if handed_in:
        found.append("verified" if verified else "self-reported")
    return tuple(found)
