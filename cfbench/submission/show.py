"""A checked bundle as the folder of a run, for whatever shows runs; and verdicts, read again.

Nothing of a bundle is copied: every file is written anew from what was parsed and checked.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from cfbench.submission.archive import BundleError
from cfbench.submission.case_scores import write_scores
from cfbench.submission.checks import FORMAT, Verdict
from cfbench.submission.strict_json import loads

_MOST_BYTES = 64 * 2**20


def write_run(verdict: Verdict, folder: Path) -> Path:
    """Write a bundle without faults as the folder of a run; its stale numbers are marked so. Raises BundleError."""
    if not verdict.good:
        faults = [f"{check.name}: {check.summary}" for check in verdict.checks if check.status == "fault"]
        raise BundleError("not shown, since it is not what it says: " + "; ".join(faults)[:2000])
    bundle = verdict.bundle
    (folder / "scores").mkdir(parents=True)
    parts = {"run": bundle.about, "suite": bundle.suite, "costs": bundle.costs, "ranks": bundle.ranks}
    for name, content in parts.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    with (folder / "records.jsonl").open("w", encoding="utf-8") as file:
        for record in bundle.records:
            why = verdict.stale.get((record.cell, record.metric, record.view))
            shown = replace(record, unranked=(*record.unranked, why)) if why else record
            file.write(shown.to_json() + "\n")
    for key, scores in bundle.scores.items():
        (folder / "scores" / f"{key}.parquet").write_bytes(write_scores(scores))
    return folder


def verified_bundles(verdicts: Iterable[Path]) -> frozenset[str]:
    """Return the digests of bundles whose every row was verified, by verdicts that the reader trusts.

    Raises BundleError for a file that is no verdict of `cfbench verify`.
    """
    found = [_verdict(path) for path in verdicts]
    return frozenset(digest for digest, rows in found if rows and all("verified" in badges for badges in rows))


def _verdict(path: Path) -> tuple[str, Sequence[Sequence[str]]]:
    """Return which bundle a verdict is on, and the badges of its rows; none if it found a fault."""
    try:
        with path.open("rb") as file:
            content = loads(file.read(_MOST_BYTES), str(path))
        if content["format"] != FORMAT:
            raise ValueError("another format")
        rows = [[str(badge) for badge in row["badges"]] for row in content["rows"]]
        return str(content["bundle"]), rows if content["good"] is True else []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: not a verdict of `cfbench verify` ({error!r})"[:400]) from error
