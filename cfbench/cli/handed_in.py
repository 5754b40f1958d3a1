"""Bundles among the runs to show: checked, and laid out as folders of runs for as long as they are needed."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cfbench.registry import Registry


@dataclass(frozen=True)
class Shown:
    """Folders of runs, and which of them were handed in."""

    folders: Sequence[Path]
    #: Handed in, and not made again by anybody whom the reader trusts.
    unverified: Sequence[Path] = ()
    verified: Sequence[Path] = ()


@contextmanager
def shown(runs: Sequence[Path], verdicts: Sequence[Path], registry: Registry) -> Iterator[Shown]:
    """Yield the folders of runs, bundles among them checked first. Raises BundleError for one with a fault."""
    if not any(run.suffix == ".zip" for run in runs):
        yield Shown(runs)
        return
    from cfbench.submission.show import verified_bundles

    trusted = verified_bundles(verdicts)
    with tempfile.TemporaryDirectory(prefix="cfbench-bundles-") as made:
        digests: dict[Path, str] = {}
        folders = []
        for number, run in enumerate(runs):
            folder = Path(made) / str(number) if run.suffix == ".zip" else run
            if folder is not run:
                digests[folder] = _lay_out(run, folder, registry)
            folders.append(folder)
        verified = [folder for folder, digest in digests.items() if digest in trusted]
        yield Shown(folders, [folder for folder in digests if folder not in verified], verified)


def _lay_out(bundle: Path, folder: Path, registry: Registry) -> str:
    """Write a bundle as the folder of a run, and return its digest."""
    from cfbench.cli.verify import check
    from cfbench.submission.archive import BundleError
    from cfbench.submission.bundle import read_bundle
    from cfbench.submission.show import write_run

    try:
        verdict = check(read_bundle(bundle), registry)
        write_run(verdict, folder)
    except BundleError as error:
        raise BundleError(f"{bundle}: {error}") from error
    return verdict.bundle.sha256
