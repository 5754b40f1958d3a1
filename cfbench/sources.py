"""Digests of plugins' source code, so that a result made by other code than today's is seen to be stale.

Formatting, comments and docstrings do not count. A digest covers the factory's package and the `cfbench_*` packages
that it imports (shared code of one family of plugins).
"""

import ast
import json
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cfbench.places import home
from cfbench.store import write_atomically

_FAMILY = "cfbench_"


class Sources:
    """Computes digests. What a file's bytes parse to is remembered in the cfbench home: parsing is the slow part."""

    def __init__(self) -> None:
        self._memory = home() / "sources.json"
        self._known: dict[str, list[Any]] = _read(self._memory)
        self._packages: dict[str, str] = {}
        self._changed = False

    def digest(self, factory: str) -> str:
        """Return the digest of `package.module:Name`'s code; "" if it cannot be found."""
        package = factory.partition(":")[0].partition(".")[0]
        if package not in self._packages:
            self._packages[package] = self._of_packages(package)
        return self._packages[package]

    def remember(self) -> None:
        """Keep what was read for the next time; a home that cannot be written only costs time."""
        if self._changed:
            with suppress(OSError):
                write_atomically(self._memory, json.dumps(self._known))

    def _of_packages(self, first: str) -> str:
        seen: dict[str, list[str]] = {}
        waiting = [first]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                facts = [self._of_file(path) for path in _files(name)]
                seen[name] = [digest for digest, _ in facts]
                waiting += [other for _, others in facts for other in others]
        if not seen[first]:
            return ""
        return sha256(json.dumps(sorted(seen.items())).encode()).hexdigest()[:16]

    def _of_file(self, path: Path) -> tuple[str, list[str]]:
        source = path.read_bytes()
        name = sha256(source).hexdigest()
        if name not in self._known:
            self._known[name] = [*_parsed(source)]
            self._changed = True
        digest, imported = self._known[name]
        return digest, imported


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _files(package: str) -> list[Path]:
    """Return a top-level package's or module's files without importing it."""
    spec = find_spec(package)
    if spec is None:
        return []
    folders = spec.submodule_search_locations
    if folders:
        return sorted(path for folder in folders for path in Path(folder).rglob("*.py"))
    return [Path(spec.origin)] if spec.origin and spec.origin.endswith(".py") else []


def _parsed(source: bytes) -> tuple[str, list[str]]:
    """Return the digest of a file's code, and the family packages that it imports."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return sha256(source).hexdigest(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_text(part)]
    imported = sorted({name for node in ast.walk(tree) for name in _imports(node) if name.startswith(_FAMILY)})
    return sha256(ast.dump(tree).encode()).hexdigest(), imported


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]
