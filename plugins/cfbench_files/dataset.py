"""A dataset of files: listed, prepared, then read from its prepared folder."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from cfbench.errors import DataError
from cfbench.protocols import Context
from cfbench_files.cases import Prepared, PreparedCases
from cfbench_files.listing import LeftOut, Listing
from cfbench_files.prepared import Case, Layout, prepare


class FileDataset:
    """A dataset whose files are read once, into a folder that the host keeps.

    Args:
        name: as in the registry.
        listing: finds the sources, from tables and folders; called only to prepare.
        read: from a source to its cases (see `cfbench_files.prepared.prepare`).
        layout: what every case is like.
        strict: whether one bad case fails the whole preparation.
        notes: from the prepared cases to what `cfbench data check` should say of them (published counts, ...).
    """

    def __init__(
        self,
        name: str,
        listing: Callable[[], Listing],
        read: Callable[[Any], Iterable[Case | LeftOut]],
        layout: Layout,
        *,
        strict: bool = False,
        notes: Callable[[Prepared], Sequence[str]] = lambda _: (),
    ) -> None:
        self._name = name
        self._listing = listing
        self._read = read
        self._layout = layout
        self._strict = strict
        self._notes = notes
        self._prepared: Prepared | None = None

    def prepare(self, folder: Path, context: Context) -> None:
        """Read all files into an empty folder. Raises DataError, naming file and row."""
        found = self._listing()
        prepare(found.sources, self._read, self._layout, folder, context, strict=self._strict, left=found.left_out)

    def load(self, folder: Path) -> None:
        """Take the cases from a prepared folder."""
        self._prepared = Prepared(folder)

    def cases(self, split: str) -> PreparedCases:
        """Return the cases of `"train"`, `"valid"` or `"test"`. Raises DataError if there are none."""
        try:
            return self._known().cases(split)
        except DataError as error:
            raise DataError(f"{self._name}: {error}") from error

    def report(self) -> Sequence[str]:
        """Return what was left out and why, the digest of the source files, and published counts beside ours."""
        prepared = self._known()
        left = prepared.left_out
        lines = [f"source files: sha256 {prepared.content}"]
        lines += [f"left out: {len(left)} cases"] if left else []
        lines += [f"  {item.name}: {item.why}" for item in left[:20]]
        lines += [f"  ... and {len(left) - 20} more"] if len(left) > 20 else []
        return [*lines, *self._notes(prepared)]

    def _known(self) -> Prepared:
        if self._prepared is None:
            raise DataError(f"{self._name} is read from a prepared folder: call `prepare`, then `load`")
        return self._prepared
