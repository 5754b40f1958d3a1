"""Everything that is wrong with a suite, collected, each finding with its position."""

from collections.abc import Iterable, Mapping
from typing import Any

from cfbench.errors import SuiteError
from cfbench.registry import did_you_mean
from cfbench.suite.document import Positions


class Findings:
    """Collects findings so that a reader mends them all at once."""

    def __init__(self, positions: Positions, file: str) -> None:
        self._positions = positions
        self._file = file
        self._lines: list[str] = []

    def add(self, path: tuple[str, ...], message: str) -> None:
        """Note a finding at a key path; its position is that of the longest known part of the path."""
        known = next((path[:n] for n in range(len(path), 0, -1) if path[:n] in self._positions), None)
        where = self._positions[known] if known else self._file
        self._lines.append(f"{where}: {'.'.join(path) or 'suite'}: {message}")

    def unknown_keys(self, path: tuple[str, ...], given: Iterable[str], known: Iterable[str]) -> None:
        """Note every given key that is not known."""
        names = list(known)
        for key in given:
            if key not in names:
                self.add((*path, key), f"unknown key{did_you_mean(key, names)}")

    def expect(self, path: tuple[str, ...], value: Any, kind: type | tuple[type, ...], what: str) -> bool:
        """Note a finding unless the value is of this kind; True and False are no numbers."""
        numeric = kind is int or (isinstance(kind, tuple) and int in kind)
        if isinstance(value, kind) and not (numeric and isinstance(value, bool)):
            return True
        self.add(path, f"expected {what}, got {type(value).__name__} {value!r}")
        return False

    def mapping(self, path: tuple[str, ...], value: Any, what: str) -> Mapping[str, Any]:
        """Return the value if it is a mapping, else note it and return an empty one."""
        return value if self.expect(path, value, Mapping, what) else {}

    def raise_if_any(self) -> None:
        """Raise SuiteError with every finding, one per line."""
        if self._lines:
            raise SuiteError("\n".join(self._lines))
