"""The file of a bundle: a ZIP with one possible form, so that nothing can hide in it.

Entries are stored, not compressed (git compresses, and nothing can unfold to more than its size), sorted, without dates
or permissions; the names that may be there are listed. A file that is not, byte for byte, what `pack` makes of its
entries is refused: with that go paths, links, encryption, doubled names, overlaps, comments and appended data.
"""

import io
import os
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from cfbench.errors import CfbenchError

#: Largest bundle, largest entry in bytes, and most entries.
MOST_BYTES = 64 * 2**20
MOST_ENTRY_BYTES = 16 * 2**20
MOST_ENTRIES = 4000
MANIFEST = "bundle.json"
#: The entries beside the manifest and the scores.
TEXTS = ("costs.json", "plan.json", "ranks.json", "records.jsonl", "run.json", "suite.json")
SCORES = re.compile(r"scores/(measure-[0-9a-f]{40})\.parquet")
_DATE = (1980, 1, 1, 0, 0, 0)


class BundleError(CfbenchError):
    """A bundle is not what `cfbench submit` writes; the message says where and how."""


def pack(entries: Mapping[str, bytes]) -> bytes:
    """Return the one archive of these entries. Raises BundleError if they are too many or too large."""
    check_sizes({name: len(data) for name, data in entries.items()})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, entries[name])
    return out.getvalue()


def unpack(path: Path) -> dict[str, bytes]:
    """Return the entries of an archive, in memory: nothing is written. Raises BundleError for any other file."""
    data = _read(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = archive.infolist()
            _check_entries(found, len(data))
            entries = {info.filename: archive.read(info) for info in found}
    except (
        zipfile.BadZipFile,
        struct.error,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        ArithmeticError,
    ) as error:
        raise BundleError(f"not a bundle: the ZIP cannot be read ({type(error).__name__})") from error
    if pack(entries) != data:
        raise BundleError(
            "the ZIP holds more than its entries (a comment, dates, permissions, links or appended data); "
            "`cfbench submit` writes it without"
        )
    return entries


def _read(path: Path) -> bytes:
    """Return a file's bytes, a plain file of a bearable size."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BundleError(f"the file cannot be opened ({error.strerror}); a link is not followed") from error
    with os.fdopen(descriptor, "rb") as file:
        if not path.is_file():
            raise BundleError("not a file")
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise BundleError(f"larger than {MOST_BYTES >> 20} MiB")
    return data


def _check_entries(found: list[zipfile.ZipInfo], size: int) -> None:
    names = [info.filename for info in found]
    if len(set(names)) < len(names):
        raise BundleError("an entry is there twice")
    check_sizes({info.filename: info.file_size for info in found})
    for info in found:
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise BundleError(f"entry {info.filename} is compressed; entries of a bundle are stored as they are")
        if info.flag_bits & 1:
            raise BundleError(f"entry {info.filename} is encrypted")
    _check_places(found, size)


def _check_places(found: list[zipfile.ZipInfo], size: int) -> None:
    """Raise BundleError if entries share bytes: how a small file claims to be a large one. Pythons differ in that."""
    end = 0
    for info in sorted(found, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise BundleError(f"entry {info.filename} overlaps another one")
        end = info.header_offset + info.file_size
    if end > size:
        raise BundleError("entries reach beyond the end of the file")


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Raise BundleError for names that do not belong into a bundle, for too many entries, or for one too large."""
    if len(sizes) > MOST_ENTRIES:
        raise BundleError(f"{len(sizes)} entries; {MOST_ENTRIES} at most")
    for name, size in sizes.items():
        if name not in (MANIFEST, *TEXTS) and not SCORES.fullmatch(name):
            raise BundleError(f"an entry {name[:100]!r} does not belong into a bundle")
        if size > MOST_ENTRY_BYTES:
            raise BundleError(f"entry {name} is larger than {MOST_ENTRY_BYTES >> 20} MiB")
    if sum(sizes.values()) > MOST_BYTES:
        raise BundleError(f"its entries are larger than {MOST_BYTES >> 20} MiB")
