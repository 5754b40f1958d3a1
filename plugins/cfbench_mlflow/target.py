"""Where the projection goes, and whether it is there already: known without importing mlflow."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cfbench.errors import StoreError
from cfbench_mlflow.entries import LAYOUT

#: Set before mlflow is imported, unless the user did: no telemetry, and a server that is down is noticed in seconds.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
STATE = "mlflow.json"
_SQLITE = "sqlite:///"
#: Seconds to wait for another process: one that writes at this moment; one that brings a database up to date.
_BUSY, _LOCKED = 3.0, 120.0


def tracking_uri(folder: Path) -> str:
    """Return `$MLFLOW_TRACKING_URI`, or the database beside the suites of this run (`runs/<suite>/<hash>`)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{folder.resolve().parents[1] / 'mlflow.db'}"


def database(uri: str) -> Path | None:
    """Return the file of a sqlite URI; None for anything else."""
    return Path(uri.removeprefix(_SQLITE).split("?")[0]) if uri.startswith(_SQLITE) else None


def shown(uri: str) -> str:
    """Return the URI without user name and password."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else uri


def is_current(folder: Path, uri: str, digest: str) -> bool:
    """Tell whether these results are in that store already, as far as files tell."""
    file = database(uri)
    if file is not None and not (file.is_file() and file.stat().st_size):
        return False
    return {**_state(folder), "page": None} == _told(uri, digest, None)


def known_page(folder: Path) -> str:
    """Return the page of this run below the address of the user interface, as the last sync noted it."""
    page = _state(folder).get("page")
    return page if isinstance(page, str) and page.startswith("#/experiments/") else ""


def remember(folder: Path, uri: str, digest: str, page: str) -> None:
    """Note that these results are in that store. A folder that cannot be written costs the next sync some seconds."""
    with suppress(OSError):
        temporary = folder / f".{STATE}.{os.getpid()}"
        temporary.write_text(json.dumps(_told(uri, digest, page)) + "\n", encoding="utf-8")
        temporary.replace(folder / STATE)


def _told(uri: str, digest: str, page: str | None) -> dict[str, Any]:
    return {"digest": digest, "tracking_uri": shown(uri), "layout": LAYOUT, "page": page}


def _state(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


@contextmanager
def writing(uri: str, folder: Path) -> Iterator[None]:
    """Hold the only right to write to a sqlite store: two processes that open a fresh one at once break it.

    On a server, hold the right to send this run folder there: two at once would send it twice. Raises StoreError at
    once if the file is locked, read-only or no database; MLflow itself would retry for minutes.
    """
    file = database(uri)
    place = folder / f".{STATE}" if file is None else file
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        # A sqlite lock is let go when its process dies, on every platform.
        with closing(sqlite3.connect(place.with_suffix(".lock"), timeout=_LOCKED, isolation_level=None)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            if file is not None:
                _try_to_write(file)
            yield
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{place.parent if file is None else file} cannot be written: {error}") from error


def _try_to_write(file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=_BUSY, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("SELECT count(*) FROM sqlite_master")
        connection.execute("ROLLBACK")
