"""JSON from strangers: bounded in depth and length, each key once, finite numbers, and text that is text."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cfbench.submission.archive import BundleError

#: Deepest nesting, longest string, and longest number in characters.
DEEPEST = 16
LONGEST = 20_000
_LONGEST_NUMBER = 40
#: Larger numbers measure nothing, and sums of them overflow.
_LARGEST = 1e300
#: A string (to its end, or to that of the text), or one bracket: enough to follow the nesting in one pass.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


def loads(data: bytes, what: str) -> Any:
    """Return the content of a JSON text. Raises BundleError, naming `what`, for anything out of bounds."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{what}: not UTF-8 text (byte {error.start})") from error
    _check_depth(text, what)
    try:
        found = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_short_int,
            parse_float=_finite_float,
            object_pairs_hook=_unique,
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{what}: not JSON as a bundle has it ({str(error)[:200]})") from error
    for string in _strings(found):
        if len(string) > LONGEST:
            raise BundleError(f"{what}: a string of {len(string)} characters; {LONGEST} at most")
        if _SURROGATE.search(string):
            raise BundleError(f"{what}: a string holds half a character (a lone surrogate)")
    return found


def dumps(value: Any) -> bytes:
    """Return the one form in which a bundle has this value."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=True)
    return f"{text}\n".encode("ascii")


def _check_depth(text: str, what: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token.group()
        depth += (mark in "[{") - (mark in "]}") if len(mark) == 1 else 0
        if depth > DEEPEST:
            raise BundleError(f"{what}: nested deeper than {DEEPEST}")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _short_int(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("a number of too many digits")
    return int(text)


def _finite_float(text: str) -> float:
    number = float(text[: _LONGEST_NUMBER + 1])
    if len(text) > _LONGEST_NUMBER or not abs(number) < _LARGEST:
        raise ValueError("a number that is too long or too large")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
