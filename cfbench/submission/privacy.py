"""What must not leave the machine with a bundle: ids of closed datasets, paths, names of hosts."""

import hmac
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: A path that leads out of a folder. Not the ` / ` between the parts of a cell's name, nor what follows a URL's scheme.
_PATH = re.compile(
    r"(?<![\w:/.~@>-])(?:(?:~(?:[A-Za-z_][\w-]*)?|\.\.)(?:/[\w.+@-]*)+|(?:/[\w.+@-]+){2,}/?)"
    r"|\b[A-Za-z]:\\[\w.+@\\-]*|\\\\[\w.+@\\-]+"
)
#: A text that is such a path as a whole.
_IS_PATH = re.compile(
    r"\s*(?:/(?:\S|$)|\\|~(?:[A-Za-z_][\w-]*)?(?:/|\s*$)|\.\.(?:[/\\]|\s*$)|[A-Za-z]:[/\\])|.*[/\\]\.\.(?:[/\\]|\s*$)|file:",
    re.DOTALL | re.IGNORECASE,
)
PATH = "<path>"
_BAD = re.compile("[\ud800-\udfff\0]")


@dataclass(frozen=True)
class Pseudonyms:
    """Other names for cases and patients, which only who has the secret can make again."""

    secret: bytes

    def of(self, dataset: str, name: str) -> str:
        """Return the pseudonym of a case or a patient; a case that is its own patient keeps being so."""
        digest = hmac.new(self.secret, f"{dataset}\0{name}".encode(errors="replace"), "sha256")
        return digest.hexdigest()[:24]


def secret_of(run: Path) -> bytes:
    """Return the run's own secret, made when it is first asked for: the same run keeps the same pseudonyms.

    It stays beside the run, readable by its owner alone. With it and a list of all patients, pseudonyms can be undone.
    """
    path = run / "submission.secret"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_secret(path)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(os.urandom(32).hex() + "\n")
    return read_secret(path)


def read_secret(path: Path) -> bytes:
    """Read the secret of a submission, as its submitter has given it to somebody who holds the data."""
    from cfbench.submission.archive import BundleError

    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: not the secret of a submission (64 hexadecimal digits)") from error


def without_paths(text: str) -> str:
    """Return the text without absolute paths, and without characters that are none."""
    return _BAD.sub("\N{REPLACEMENT CHARACTER}", PATH if _IS_PATH.match(text) else _PATH.sub(PATH, text))


def leads_out(text: str) -> bool:
    """Return whether a text names, or holds, a path that leads out of a folder."""
    return without_paths(text) != text


def mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return JSON with every string changed, keys included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): mapped(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mapped(item, change) for item in value]
    return value


def closed_datasets(about: Mapping[str, Any]) -> frozenset[str]:
    """Return the datasets whose cases must not be named, by `run.json`; one that says nothing is closed."""
    stated = about.get("datasets")
    items: Iterable[tuple[str, Any]] = stated.items() if isinstance(stated, Mapping) else ()
    return frozenset(k for k, v in items if not (isinstance(v, Mapping) and v.get("redistributable") is True))
