"""A bundle that was read: every part parsed and bounded, nothing of it believed yet."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from cfbench.errors import StoreError
from cfbench.records import Record, from_json
from cfbench.submission.archive import MANIFEST, SCORES, TEXTS, BundleError, pack, unpack
from cfbench.submission.case_scores import CaseScores, read_scores
from cfbench.submission.strict_json import loads

FORMAT = "cfbench bundle"
VERSION = 1
MOST_RECORDS = 20_000


@dataclass(frozen=True)
class Bundle:
    """The parts of a bundle."""

    entries: Mapping[str, bytes]
    manifest: Mapping[str, Any]
    about: Mapping[str, Any]
    suite: Mapping[str, Any]
    plan: Mapping[str, Any]
    costs: Sequence[Mapping[str, Any]]
    ranks: Sequence[Mapping[str, Any]]
    #: The lines of `records.jsonl`, as JSON.
    lines: Sequence[Any]

    @cached_property
    def sha256(self) -> str:
        """Return the digest of the file."""
        return sha256(pack(self.entries)).hexdigest()

    @property
    def pseudonymous(self) -> frozenset[str]:
        """Return the datasets whose cases have other names here."""
        return frozenset(map(str, self.manifest["pseudonymous"]))

    @cached_property
    def records(self) -> Sequence[Record]:
        """Return the records. Raises BundleError naming the line that is none."""
        found = []
        for number, line in enumerate(self.entries["records.jsonl"].decode().splitlines(), 1):
            try:
                found.append(from_json(line))
            except StoreError as error:
                raise BundleError(f"records.jsonl:{number}: {error}") from error
        return found

    @cached_property
    def scores(self) -> Mapping[str, CaseScores]:
        """Return the per-case scores by the key of their number. Raises BundleError for a table that is none."""
        named = {found.group(1): name for name in self.entries if (found := SCORES.fullmatch(name))}
        return {key: read_scores(self.entries[name], name) for key, name in named.items()}


def read_bundle(path: Path) -> Bundle:
    """Read a bundle. Raises BundleError for what cannot be one."""
    entries = unpack(path)
    missing = [name for name in (MANIFEST, *TEXTS) if name not in entries]
    if missing:
        raise BundleError(f"{', '.join(missing)}: not in the bundle")
    lines = entries["records.jsonl"].split(b"\n")
    if len(lines) > MOST_RECORDS:
        raise BundleError(f"records.jsonl: {len(lines)} lines; {MOST_RECORDS} at most")
    return Bundle(
        entries=entries,
        manifest=_mapping(entries, MANIFEST),
        about=_mapping(entries, "run.json"),
        suite=_mapping(entries, "suite.json"),
        plan=_mapping(entries, "plan.json"),
        costs=_list(entries, "costs.json"),
        ranks=_list(entries, "ranks.json"),
        lines=[loads(line, f"records.jsonl:{number}") for number, line in enumerate(lines, 1) if line],
    )


def check_hashes(bundle: Bundle) -> list[str]:
    """Return what is wrong with the manifest: another format, or entries that it does not tell the truth of."""
    told = bundle.manifest.get("files")
    told = told if isinstance(told, Mapping) else {}
    found = {n: {"sha256": sha256(d).hexdigest(), "bytes": len(d)} for n, d in bundle.entries.items() if n != MANIFEST}
    faults = [f"{name}: listed and not there" for name in sorted(map(str, told.keys() - found.keys()))]
    faults += [f"{name}: there and not listed" for name in sorted(found.keys() - told.keys())]
    faults += [f"{n}: its digest or size is another" for n in sorted(found.keys() & told.keys()) if found[n] != told[n]]
    if bundle.manifest.get("format") != FORMAT or bundle.manifest.get("version") != VERSION:
        faults.append(f"{MANIFEST}: not {FORMAT!r} version {VERSION}; it needs another cfbench")
    return faults


def bundle_name(suite: str, digest: str) -> str:
    """Return the file name of a bundle."""
    return f"{re.sub('[^A-Za-z0-9_-]', '-', suite)[:60]}-{digest[:12]}.cfbench.zip"


def _mapping(entries: Mapping[str, bytes], name: str) -> Mapping[str, Any]:
    found = loads(entries[name], name)
    if not isinstance(found, dict):
        raise BundleError(f"{name}: expected a mapping")
    return found


def _list(entries: Mapping[str, bytes], name: str) -> Sequence[Mapping[str, Any]]:
    found = loads(entries[name], name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise BundleError(f"{name}: expected a list of mappings")
    return found
