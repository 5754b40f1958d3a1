"""Accepted runs: those that later runs of their suite are held against."""

import json
import os
import tempfile
from pathlib import Path

from cfbench.leaderboard.runs import Run
from cfbench.records import read_records, records_digest

FILE = "accepted.json"


def accept(folder: Path) -> Path:
    """Write into a run folder that its numbers count as right. Raises StoreError if it is no run folder.

    The file names the digest of the results, so that a folder that is run anew is not accepted unseen.
    """
    content = json.dumps({"records": records_digest(read_records(folder / "records.jsonl"))}) + "\n"
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".accepted-", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        Path(file.name).chmod(0o644)
    return Path(file.name).replace(folder / FILE)


def is_accepted(run: Run) -> bool:
    """Return whether these very results were accepted."""
    path = run.folder / FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and not path.is_symlink() else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and told.get("records") == records_digest(run.records)
