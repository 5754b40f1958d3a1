"""Small plots as inline SVG: axes with round ticks, and positions. Numbers only; text goes through the templates."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor, log10

from markupsafe import Markup

from cfbench.leaderboard.text import number

_PATH = re.compile(r"[MLHVhv0-9. e-]*")


@dataclass(frozen=True)
class Axis:
    """One axis in SVG units: where a value lies, and its ticks."""

    low: float
    high: float
    #: Where `low` and `high` lie; the first is larger on an axis that runs up.
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return where a value lies."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @cached_property
    def ticks(self) -> Sequence[tuple[float, str]]:
        """Return positions and texts of three to nine round values."""
        step = _round_step((self.high - self.low) / 8)
        first, last = ceil(self.low / step - 1e-9), floor(self.high / step + 1e-9)
        values = [i * step for i in range(first, last + 1)]
        places = max(0, min(6, -floor(log10(step) + 1e-9))) if abs(step) < 1 else 0
        return [(self.at(value), number(value if abs(value) > step / 2 else 0.0, places)) for value in values]


def _round_step(wanted: float) -> float:
    power = 10.0 ** floor(log10(wanted))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= wanted * 0.999)


def axis(values: Iterable[float], start: float, end: float, *, turned: bool = False) -> Axis:
    """Return an axis with a margin around its values; `turned` puts the largest value where the smallest would be."""
    found = list(values)
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(low - room, high + room, end if turned else start, start if turned else end)


def dots(points: Iterable[tuple[float, float]]) -> Markup:
    """Return the path of dots: strokes without length, which round caps make visible."""
    return path("".join(f"M{x:g} {y:g}h0" for x, y in points))


def path(drawn: str) -> Markup:
    """Return a path that the templates print whole: they cut other strings. Raises ValueError for any but a path."""
    if not _PATH.fullmatch(drawn):
        raise ValueError(f"not an SVG path: {drawn[:40]!r}")
    return Markup(drawn)  # noqa: S704 - letters of commands and numbers, as was just checked
