"""Copy the bundles that a pull request adds into a folder, by git alone: `take_bundles.py BASE HEAD FOLDER`.

Nothing of the pull request is checked out. It may add bundles `leaderboard/records/<suite>/<name>.cfbench.zip`, as
plain files of a bearable size; any other change below `leaderboard/` is refused, since verdicts and the site are not
for those who hand in.
"""  # noqa: INP001 - a script of the workflow

import re
import subprocess
import sys
from pathlib import Path

MOST_BYTES = 64 * 2**20
MOST_BUNDLES = 20
NAME = re.compile(r"leaderboard/records/[A-Za-z0-9][A-Za-z0-9._-]{0,99}/([A-Za-z0-9][A-Za-z0-9_-]{0,99}\.cfbench\.zip)")
COMMIT = re.compile(r"[0-9a-f]{40}")
PLAIN_FILE = "100644"


def git(*words: str) -> bytes:
    """Return what git prints."""
    return subprocess.run(["git", *words], check=True, capture_output=True).stdout  # noqa: S603, S607


def added(base: str, head: str) -> list[tuple[str, str]]:
    """Return path and blob of every bundle that is added. Exits with a sentence for anything else."""
    raw = git("diff", "--raw", "-z", "--no-renames", "--no-abbrev", f"{base}...{head}", "--", "leaderboard")
    parts = raw.decode("utf-8", "surrogateescape").split("\0")
    found = []
    for what, path in zip(parts[::2], parts[1::2], strict=False):
        _, mode, _, blob, status = what.lstrip(":").split(" ")
        if status != "A" or mode != PLAIN_FILE or not NAME.fullmatch(path):
            sys.exit(f"only new bundles leaderboard/records/<suite>/<name>.cfbench.zip may be handed in, not {path!r}")
        if int(git("cat-file", "-s", blob)) > MOST_BYTES:
            sys.exit(f"{path} is larger than {MOST_BYTES >> 20} MiB")
        found.append((path, blob))
    if len(found) > MOST_BUNDLES:
        sys.exit(f"{len(found)} bundles; {MOST_BUNDLES} at most in one pull request")
    return found


def main(base: str, head: str, folder: Path) -> None:
    """Copy the bundles, each under its own name."""
    if not (COMMIT.fullmatch(base) and COMMIT.fullmatch(head)):
        sys.exit("expected two commits")
    folder.mkdir()
    for path, blob in added(base, head):
        name = path.rpartition("/")[2]
        if (folder / name).exists():
            sys.exit(f"two bundles are called {name}")
        (folder / name).write_bytes(git("cat-file", "blob", blob))
        print(f"{path}: {(folder / name).stat().st_size} bytes")  # noqa: T201 - the log of the workflow


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
