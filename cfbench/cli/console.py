"""Where the verbs print."""

import os
import sys

from rich.console import Console

#: Columns where there is no terminal to ask: tables of a nightly log are read on a screen.
_LOG = 160


def make_console() -> Console:
    """Return a console as wide as the terminal; without one (a log, a pipe), 160 columns unless COLUMNS says more."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _LOG)
