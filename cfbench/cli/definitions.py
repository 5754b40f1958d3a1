"""What a metric's documentation says, read from its source: nothing is imported, since most metrics need torch."""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from inspect import cleandoc
from pathlib import Path

#: Longer documentation is cut.
LONGEST = 6000
_SEE = re.compile(r"see `(\w+)`\.?")


def definition(factory: str) -> str:
    """Return the documentation behind `package.module:Name`, and of what it refers to by "see `name`"; else nothing."""
    module, _, name = factory.partition(":")
    try:
        text = "\n\n".join(_docs(module, name, 3))
    except (ImportError, OSError, SyntaxError, ValueError):
        return ""
    return text[:LONGEST]


def _docs(module: str, name: str, hops: int) -> Iterator[str]:
    tree = _tree(module)
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if name not in found:
        source = next((origin for origin, known in _imports(tree) if known == name), None)
        if source and hops:
            yield from _docs(source, name, hops - 1)
        return
    text = ast.get_docstring(found[name], clean=False)
    doc = cleandoc(text) if text else ""
    reference = _SEE.search(doc)
    if reference and reference.group(1) != name and hops:
        yield from _docs(module, reference.group(1), hops - 1)
        doc = doc.partition("\n\n")[2]
    if doc:
        yield doc


def _tree(module: str) -> ast.Module:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(module)
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.asname or alias.name) for alias in node.names)
