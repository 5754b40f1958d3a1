"""The static site: tables, a page per row and per metric, cases, papers, and the same numbers as files.

It opens from `file://`, asks nothing of the network and can be read without JavaScript. Every string in a record, a
run description or a gallery is taken for hostile: invisible characters are replaced, the rest is escaped and cut, paths
are confined, and a content security policy allows only the pages' own style and scripts, by hash.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from cfbench.leaderboard.environment import OWN_MARK, make_environment
from cfbench.leaderboard.export import FORMATS, export
from cfbench.leaderboard.history import History
from cfbench.leaderboard.pages import make_pages
from cfbench.leaderboard.png import OWN_NAME, Png
from cfbench.leaderboard.runs import Run, read_runs


def build(
    runs: Sequence[Path],
    out: Path,
    *,
    unverified: Iterable[Path] = (),
    verified: Iterable[Path] = (),
    private: bool = False,
) -> Path:
    """Write the site of these run folders into `out` and return the path of its `index.html`.

    Runs among `unverified` were handed in and are marked so; those among `verified` too, and a re-run of a sample of
    their cases agreed. `private` also shows images that may not be published, for their owner alone. Pairs keep their
    own p-values, and there is no history: `cfbench.compare.site` adds both. Raises StoreError if a folder is not that
    of a run.
    """
    return write_site(list(read_runs(runs, unverified, verified=verified, private=private)), out)


def write_site(read: Sequence[Run], out: Path, histories: Sequence[History] = ()) -> Path:
    """Write the site of runs that were read, as `build` does.

    Each file appears whole or not at all, and pages after the pictures that they show. Pictures and pages of an earlier
    build that this one does not make are removed: they may have been withdrawn.
    """
    environment = make_environment(sorted({name for run in read for name in run.gallery.private}))
    pages = {name: (template, context) for name, template, context in make_pages(read, histories)}
    (out / "images").mkdir(parents=True, exist_ok=True)
    kept = {*pages}
    for run in read:
        shown = {figure.picture for figure in run.figures if isinstance(figure.picture, Png)}
        for picture in {*run.gallery.pictures, *shown}:
            kept.add(picture.name)
            _write(out / "images" / picture.name, picture.data, sync=False)  # its name tells whether it is whole
        for name in FORMATS:
            _write(out / f"results-{run.slug}.{name}", export(name, [run]).encode())
    for name, (template, context) in pages.items():
        _write(out / name, environment.get_template(template).render(context).encode())
    _prune(out, kept)
    return out / "index.html"


def _write(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write through a temporary sibling, so that nobody ever reads half a file; leave alone what is the same."""
    if path.is_file() and not path.is_symlink() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".cfbench-", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _prune(out: Path, keep: set[str]) -> None:
    """Remove what only an earlier build can have made."""
    for path in (out / "images").iterdir():
        if OWN_NAME.fullmatch(path.name) and path.name not in keep:
            path.unlink()
    for path in out.glob("*.html"):
        with path.open(encoding="utf-8", errors="replace") as file:
            own = OWN_MARK in file.read(2000)
        if path.name not in keep and own:
            path.unlink()
