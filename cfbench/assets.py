"""Files that somebody else publishes: where they lie, whether they are the right ones, and how they get there.

A download goes into `<name>.part` beside its target, is verified there, and only then takes its name: a file that has
its name is complete. An interrupted download goes on where it stopped.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cfbench.errors import ChecksumError, DataError, OfflineError, PluginError, StoreError
from cfbench.places import data_folder, torch_checkpoints
from cfbench.specs import Asset

if TYPE_CHECKING:
    import requests

#: `report(done, total)` in bytes; the total is None where nobody knows it.
Report = Callable[[int, int | None], None]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_CHECKSUM = re.compile(r"(md5|sha256):([0-9a-fA-F]{8,})")
_CHUNK = 1 << 20


def locate(asset: Asset) -> Path:
    """Return the path where the asset is looked for, whether it is there or not.

    Raises:
        PluginError: its name is not a plain file name.
    """
    if not _NAME.fullmatch(asset.name) or asset.name.endswith((".part", ".lock")):
        raise PluginError(
            f"an asset is called {asset.name!r}; expected a plain file name of letters, digits and . _ + -, "
            "without a folder, not ending in .part or .lock: mend the plugin that declares it"
        )
    if asset.root is not None:
        return asset.root / asset.name
    return (torch_checkpoints() if asset.place == "torch" else data_folder()) / asset.name


def state(asset: Asset) -> Literal["present", "missing"]:
    """Return whether a file of the declared size is in its place. Its content is not read: that is `verify`."""
    path = locate(asset)
    if not path.is_file():
        return "missing"
    return "present" if asset.size in (None, path.stat().st_size) else "missing"


def verify(path: Path, checksum: str) -> None:
    """Check a file against `"md5:<hex>"` or `"sha256:<hex>"`; the hex may be a prefix of 8 or more characters.

    Raises:
        ChecksumError: the file is another one, or damaged.
        DataError: it cannot be read.
        PluginError: the checksum is not written as above.
    """
    if difference := _difference(path, checksum):
        raise ChecksumError(
            f"{path}: {difference}. It is damaged, or not the file that was published: move it away and type "
            "`cfbench data fetch`, or put the right one in its place"
        )


def _difference(path: Path, checksum: str) -> str:
    """Return what is wrong with a file's checksum, or nothing."""
    algorithm, expected = _parsed(checksum)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): `cfbench data fetch` gets it") from error
    actual = digest.hexdigest()
    return "" if actual.startswith(expected) else f"expected {algorithm} {expected}, the file's is {actual}"


def _parsed(checksum: str) -> tuple[str, str]:
    """Return algorithm and lower-case hex."""
    found = _CHECKSUM.fullmatch(checksum)
    if not found or len(found[2]) > 2 * hashlib.new(found[1], usedforsecurity=False).digest_size:
        raise PluginError(
            f"checksum {checksum!r}: expected md5:<hex> or sha256:<hex> with 8 or more hex digits of the digest; "
            "mend the plugin that declares it"
        )
    return found[1], found[2].lower()


def fetch(asset: Asset, report: Report, timeout: float = 30.0) -> Path:
    """Return the path of the verified asset, after downloading it if it is missing.

    A file that is there is verified and never overwritten; a folder that the user named is never written to. One
    process downloads, others that want the same file wait for it. `timeout` is in seconds without any answer.

    Raises:
        OfflineError: the network did not give it; what had arrived is kept for the next try.
        ChecksumError: what is there, or what came, is not the declared file; what came is deleted.
        DataError: it is missing in the folder that the user named.
        StoreError: no space or no permission.
        PluginError: its name, URL or checksum breaks the rules.
    """
    target = locate(asset)
    _parsed(asset.checksum)
    if asset.root is None and not target.exists():
        if not asset.url.lower().startswith(("http://", "https://")):
            raise PluginError(f"{asset.name}: expected an http or https address, got {asset.url!r}; mend its plugin")
        try:
            _download_alone(asset, target, report, timeout)
        except OSError as error:
            raise _unwritable(asset, error) from error
    if not target.is_file():
        raise DataError(f"{asset.name} is not in {target.parent}: {_by_hand(asset)}")
    verify(target, asset.checksum)
    return target


def _download_alone(asset: Asset, target: Path, report: Report, timeout: float) -> None:
    """Download under the file's lock, unless another process just has; the lock dies with its process."""
    import fcntl

    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _download(asset, target, report, timeout)


def _download(asset: Asset, target: Path, report: Report, timeout: float) -> None:
    """Download into the part file, verify it there, and give it its name."""
    import requests

    part = target.with_name(f"{target.name}.part")
    try:
        with requests.Session() as session:
            _stream(session, asset, part, report, timeout)
    except requests.RequestException as error:
        raise _offline(asset, part, _reason(error, timeout)) from error
    if difference := _difference(part, asset.checksum):
        part.unlink()
        raise ChecksumError(
            f"{asset.url} gave another file than the declared one ({difference}), which was deleted again. "
            f"Try once more; if it stays so, {_by_hand(asset)}"
        )
    part.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    os.fsync(folder)  # the new name survives a power cut
    os.close(folder)


def _stream(session: "requests.Session", asset: Asset, part: Path, report: Report, timeout: float) -> None:
    """Append what is missing to the part file."""
    start = part.stat().st_size if part.exists() else 0
    with _ask(session, asset.url, start, timeout) as response:
        if response.status_code not in (200, 206):
            raise _offline(asset, part, f"the server answers {response.status_code} {response.reason}")
        if response.status_code == 200:  # the server starts from the beginning, asked or not
            start = 0
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else asset.size
        if total is not None and total - start > shutil.disk_usage(part.parent).free:
            raise _full(asset, part.parent, total - start)
        done = _write(response, part, start, asset.size, lambda done: report(done, total))
    if total is not None and done < min(total, asset.size or total):
        raise _offline(asset, part, f"the connection was cut after {done:,} of {total:,} bytes")


def _ask(session: "requests.Session", url: str, start: int, timeout: float) -> "requests.Response":
    """Ask for the bytes from `start` on; for all of them if the server has no such range."""
    headers = {"Accept-Encoding": "identity"}
    if start:
        wanted = headers | {"Range": f"bytes={start}-"}
        response = session.get(url, headers=wanted, stream=True, timeout=timeout)
        given = response.headers.get("Content-Range", "")
        other = response.status_code == 206 and not given.startswith(f"bytes {start}-")
        if response.status_code != 416 and not other:
            return response
        response.close()
    return session.get(url, headers=headers, stream=True, timeout=timeout)


def _write(
    response: "requests.Response", part: Path, start: int, limit: int | None, report: Callable[[int], None]
) -> int:
    """Write the answer to disk for good; return the size of the part file."""
    done = start
    with part.open("ab" if start else "wb") as file:
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            report(done)
            if limit is not None and done > limit:
                break  # already not the declared file, as its checksum will say: don't let it fill the disk
        file.flush()
        os.fsync(file.fileno())
    return done


def _reason(error: "requests.RequestException", timeout: float) -> str:
    """Say in a few words why a download failed."""
    import requests

    if isinstance(error, requests.Timeout):
        return f"no answer within {timeout:g} s"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return f"it leads to an address that is neither http nor https ({error})"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "there is no connection to its server, or it was cut"
    return str(error)


def _offline(asset: Asset, part: Path, reason: str) -> OfflineError:
    kept = part.stat().st_size if part.exists() else 0
    resume = f" The {kept:,} bytes that have arrived are kept: the next try goes on from there." if kept else ""
    return OfflineError(
        f"{asset.name} could not be downloaded from {asset.url}: {reason}.{resume} Without network, {_by_hand(asset)}"
    )


def _unwritable(asset: Asset, error: OSError) -> StoreError:
    folder = locate(asset).parent
    if error.errno == errno.ENOSPC:
        return _full(asset, folder, asset.size)
    name = error.filename or folder
    return StoreError(f"{name} cannot be written ({error.strerror}): mend that, or {_elsewhere(asset)}")


def _full(asset: Asset, folder: Path, needed: int | None) -> StoreError:
    much = "more" if needed is None else f"{needed:,}"
    free = f"{shutil.disk_usage(folder).free:,}"
    return StoreError(f"{asset.name} needs {much} bytes, {folder} has {free} free: make room, or {_elsewhere(asset)}")


def _by_hand(asset: Asset) -> str:
    size = "" if asset.size is None else f" ({asset.size:,} bytes)"
    return f"get {asset.url}{size} in another way and put it at {locate(asset)}, or {_elsewhere(asset)}"


def _elsewhere(asset: Asset) -> str:
    if asset.root is not None:
        return "leave `root` empty and type `cfbench data fetch`"
    if asset.place == "torch":
        return f"set TORCH_HOME to a folder that has hub/checkpoints/{asset.name}"
    return (
        f"set CFBENCH_HOME to a folder that has data/{asset.name}, or a dataset's `root` to one that has {asset.name}"
    )
