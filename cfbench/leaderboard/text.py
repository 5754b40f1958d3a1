"""Untrusted strings and bare numbers, made safe and pleasant to read."""

import math
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

#: Longer strings are cut: a name of ten megabytes must not make a page of ten megabytes.
LONGEST = 600
#: Smaller numbers are rounding errors of 0.
_NOTHING = 1e-12
#: Control, format (right-to-left overrides), surrogate and private characters, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def plain(text: object) -> str:
    """Return one line without invisible characters: whitespace becomes a space, the others a visible replacement."""
    return _plain(str(text)[: 4 * LONGEST])


@lru_cache(maxsize=8192)
def _plain(text: str) -> str:
    head = " ".join(text.split())
    if head.isascii() and head.isprintable() and len(head) <= LONGEST:
        return head
    shown = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _INVISIBLE else c for c in head)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def paragraphs(text: object, longest: int = 8000) -> list[str]:
    """Return the paragraphs of a longer text, each as `plain` makes it."""
    return [shown for part in str(text)[:longest].split("\n\n") if (shown := plain(part))]


def slug(text: str) -> str:
    """Return a file name made of `a-z 0-9 -`, at most 60 characters, never empty."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:60].strip("-") or "unnamed"


def decimals(values: Iterable[float]) -> int:
    """Return how many decimals show about three significant digits of the largest value: 0 to 6."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    if largest == 0.0:
        return 0
    # Between 0.1 and 10 three decimals: what the papers print for AUC, F1 and SSIM.
    exponent = math.floor(math.log10(largest))
    return max(0, min(6, 3 - exponent if exponent > 0 else max(3, 2 - exponent)))


def number(value: float | None, places: int = 3) -> str:
    """Return a number with a true minus sign; `–` for none; an exponent where the places would hide it."""
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) < _NOTHING:
        value = 0.0
    tiny = value != 0.0 and abs(value) < 0.5 * 10.0**-places
    return (f"{value:.1e}" if tiny else f"{value:,.{places}f}").replace("-", "\N{MINUS SIGN}")
