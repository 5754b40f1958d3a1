"""PNG files from a folder that others wrote: confined, checked, and stripped of everything but their pixels."""

import re
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path, PurePosixPath

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_BYTES = 8 * 2**20
MAX_SIDE = 8192
#: How the pictures of a site are called.
OWN_NAME = re.compile(r"[0-9a-f]{24}\.png")
#: What makes the picture. Text, time and Exif chunks may name a patient or a machine; they are not copied.
_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


class RefusedImageError(ValueError):
    """A picture is not shown; the message says why."""


@dataclass(frozen=True)
class Png:
    """A picture that may be published."""

    data: bytes
    width: int
    height: int

    @cached_property
    def name(self) -> str:
        """Return a file name made of its content: the same picture is stored once."""
        return f"{sha256(self.data).hexdigest()[:24]}.png"


def read_png(folder: Path, relative: str) -> Png:
    """Read `folder/relative`. Raises RefusedImageError if it lies elsewhere, or is not a PNG of a sensible size."""
    raw = _inside(folder, relative).read_bytes()
    if not raw.startswith(SIGNATURE):
        raise RefusedImageError("not a PNG file")
    chunks = list(_chunks(raw))
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1][0] != b"IEND" or len(chunks[0][1]) != 25:
        raise RefusedImageError("a damaged PNG file")
    width, height = struct.unpack(">II", chunks[0][1][8:16])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise RefusedImageError(f"a PNG of {width} x {height} pixels; at most {MAX_SIDE} a side are shown")
    return Png(SIGNATURE + b"".join(chunk for kind, chunk in chunks if kind in _KEPT), width, height)


def _inside(folder: Path, relative: str) -> Path:
    parts = PurePosixPath(relative)
    if parts.is_absolute() or ".." in parts.parts or "\\" in relative or "\0" in relative or parts.suffix != ".png":
        raise RefusedImageError("its path is not that of a .png file below the gallery folder")
    try:
        path = (folder / parts).resolve(strict=True)
        status = path.stat()
    except OSError as error:
        raise RefusedImageError("the file is missing") from error
    if not path.is_relative_to(folder.resolve()):
        raise RefusedImageError("it is a link to a place outside the gallery folder")
    if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
        raise RefusedImageError(f"not a file of at most {MAX_BYTES >> 20} MiB")
    return path


def _chunks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each chunk's type and bytes (length, type, data and checksum) up to IEND; stop short if one is cut."""
    at = len(SIGNATURE)
    while at + 12 <= len(raw):
        length, kind = struct.unpack(">I4s", raw[at : at + 8])
        end = at + 12 + length
        if end > len(raw):
            return
        yield kind, raw[at:end]
        if kind == b"IEND":
            return
        at = end
