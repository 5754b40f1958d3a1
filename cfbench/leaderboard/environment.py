"""The Jinja environment of the pages: everything is escaped, and only our own style and scripts may run, by hash."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

import cfbench
from cfbench.leaderboard.png import Png
from cfbench.leaderboard.text import number, paragraphs, plain

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
#: A page's mark: only files that carry it are ever removed by a later build.
OWN_MARK = '<meta name="generator" content="cfbench">'


def make_environment(private: Sequence[str] = ()) -> "Environment":
    """Return the environment of all pages. `private` are datasets that are shown to their owner alone."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    style = _own("site.css")
    environment.globals.update(
        style=style,
        style_hash=csp_hash(style),
        script=_own,
        csp_hash=csp_hash,
        is_picture=lambda value: isinstance(value, Png),
        number=number,
        paragraphs=paragraphs,
        coded=coded,
        version=cfbench.__version__,
        private=list(private),
        nav=[],
    )
    return environment


def coded(text: object) -> Markup:
    """Return a line in which what stands between backticks is set as code, and everything is escaped."""
    parts = plain(text).split("`")
    if len(parts) % 2 == 0:
        return escape(plain(text))
    tags = (Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts))
    return Markup("").join(tags)


def _finalize(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _own(name: str) -> Markup:
    """Return a file of this package: the only text that is not escaped."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - our own file, never a record's


def csp_hash(text: str) -> str:
    """Return the hash by which a content security policy names an inline script or style."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def unique(names: Sequence[str]) -> list[str]:
    """Return the names, numbered where one is there several times."""
    taken: dict[str, int] = {}
    found = []
    for name in names:
        taken[name] = taken.get(name, 0) + 1
        candidate = name
        while candidate in found:
            candidate = f"{name}-{taken[name]}"
            taken[name] += 1
        found.append(candidate)
    return found
