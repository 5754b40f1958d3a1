"""The store: results of steps, found by the hash of everything that went into them.

An artifact is a folder that exists under its final name, complete: it is written beside, flushed, and renamed. The
digest of every file is kept in `artifact.json` and checked when the artifact is read.
"""

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from cfbench.errors import CorruptArtifactError, StoreError

_MANIFEST = "artifact.json"
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}


def content_key(kind: str, identity: Mapping[str, Any]) -> str:
    """Return `kind-<hash>` of canonical JSON: the same work has the same key, on any machine."""
    canonical = json.dumps({"kind": kind, **identity}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f"{kind}-{sha256(canonical.encode()).hexdigest()[:40]}"


@dataclass(frozen=True)
class Artifact:
    """A verified artifact: its folder, and what is known of its making (cost, versions)."""

    key: str
    folder: Path
    meta: Mapping[str, Any]


class Store:
    """Artifacts below one root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()

    def require_writable(self) -> None:
        """Raise StoreError, saying what to do, unless artifacts can be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise StoreError(_disk_message(self.root, error)) from error

    def folder(self, key: str) -> Path:
        """Return where the artifact is, or would be."""
        kind, _, digest = key.rpartition("-")
        return self.root / kind / digest[:2] / digest

    def has(self, key: str) -> bool:
        """Return whether the artifact is there (complete by construction)."""
        return (self.folder(key) / _MANIFEST).is_file()

    def meta(self, key: str) -> Mapping[str, Any]:
        """Return what is known of its making, without reading its files."""
        return self._manifest(key)["meta"]  # type: ignore[no-any-return]

    def digests(self, key: str) -> Mapping[str, str]:
        """Return the SHA-256 of each of its files, without reading them."""
        return self._manifest(key)["files"]  # type: ignore[no-any-return]

    def read(self, key: str) -> Artifact:
        """Return the artifact, every file checked. Raises CorruptArtifactError after moving a damaged one away."""
        folder = self.folder(key)
        manifest = self._manifest(key)
        if key not in self._verified:
            for name, digest in manifest["files"].items():
                if _digest(folder / name) != digest:
                    raise self._quarantine(key, f"{name} has another content than was written")
            self._verified.add(key)
        return Artifact(key, folder, manifest["meta"])

    @contextmanager
    def writing(self, key: str, meta: dict[str, Any]) -> Iterator[Path]:
        """Yield an empty folder that becomes the artifact when the block ends well; `meta` may be filled meanwhile.

        Raises StoreError if the disk is full or not writable; nothing half-written stays under the final name.
        """
        final = self.folder(key)
        draft = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}")
        try:
            draft.mkdir(parents=True)
            yield draft
            _seal(draft, key, meta)
            self._publish(draft, final)
        except Exception as error:
            number = _os_error(error)
            if number not in _DISK_ERRORS:
                raise
            raise StoreError(_disk_message(self.root, OSError(number, os.strerror(number)))) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the right to make this artifact. Waits for another process; the lock dies with its holder."""
        try:
            path = self.root / "locks" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("a")
        except OSError as error:
            raise StoreError(_disk_message(self.root, error)) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._sweep(key)
            yield

    def scratch(self, key: str, made_by: str) -> Path:
        """Return a folder for checkpoints that survives a kill; only the holder of the lock uses it.

        `made_by` names the code: other code must not go on with these checkpoints.
        """
        folder = self.root / "scratch" / key / made_by
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def discard(self, key: str) -> bool:
        """Remove an artifact; return whether there was one. Never leaves half of it under its name."""
        folder = self.folder(key)
        doomed = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
        try:
            folder.rename(doomed)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(_disk_message(self.root, error)) from error
        shutil.rmtree(doomed, ignore_errors=True)
        self._verified.discard(key)
        return True

    def drop_scratch(self, key: str) -> None:
        """Remove the checkpoints of finished work."""
        shutil.rmtree(self.root / "scratch" / key, ignore_errors=True)

    def _sweep(self, key: str) -> None:
        """Remove drafts that a killed holder of the lock left behind."""
        folder = self.folder(key)
        for draft in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(draft, ignore_errors=True)

    def _manifest(self, key: str) -> dict[str, Any]:
        try:
            manifest: dict[str, Any] = json.loads((self.folder(key) / _MANIFEST).read_text(encoding="utf-8"))
            digest = manifest.pop("sha256")
            if digest != _manifest_digest(manifest) or manifest["key"] != key:
                raise ValueError("its manifest does not fit")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._quarantine(key, str(error)) from error
        return manifest

    def _publish(self, draft: Path, final: Path) -> None:
        """Rename; the loser of a race leaves the winner's artifact, which is the same."""
        try:
            draft.rename(final)
        except OSError:
            if (final / _MANIFEST).is_file():
                return
            if not final.is_dir():
                raise
            self._set_aside(final)  # a folder that lost its manifest (a cache cleaner?) is no artifact
            draft.rename(final)
        _sync(final.parent)

    def _set_aside(self, folder: Path) -> None:
        folder.rename(folder.with_name(f".damaged-{folder.name}-{uuid.uuid4().hex[:8]}"))

    def _quarantine(self, key: str, what: str) -> CorruptArtifactError:
        folder = self.folder(key)
        with suppress(OSError):
            self._set_aside(folder)
        return CorruptArtifactError(key, what)


def _seal(draft: Path, key: str, meta: Mapping[str, Any]) -> None:
    """Write the manifest last, and flush everything."""
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    for path in files:
        _sync(path)
    digests = {path.relative_to(draft).as_posix(): _digest(path) for path in files}
    manifest = {"key": key, "files": digests, "meta": dict(meta)}
    write_atomically(draft / _MANIFEST, json.dumps({**manifest, "sha256": _manifest_digest(manifest)}, indent=1))
    _sync(draft)


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file as a whole: a reader sees the old or the new one, and a full disk keeps the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with draft.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _manifest_digest(manifest: Mapping[str, Any]) -> str:
    return sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            return file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _os_error(error: Exception) -> int:
    """Return the number of an operating system's error; safetensors gives it in its text only. 0 for other errors."""
    if isinstance(error, OSError):
        return error.errno or 0
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told.group(1)) if told else 0


def _disk_message(root: Path, error: OSError) -> str:
    with suppress(OSError):
        free = shutil.disk_usage(root if root.exists() else Path.cwd()).free
        return (
            f"{root} cannot be written: {error.strerror} ({free / 1e9:.2f} GB free); make room or set CFBENCH_HOME to "
            "another folder, then run again: finished steps are kept"
        )
    return f"{root} cannot be written: {error.strerror}; set CFBENCH_HOME to another folder, then run again"
