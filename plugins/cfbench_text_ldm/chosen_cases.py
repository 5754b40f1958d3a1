"""Some of the cases of a split, as cases of their own."""

from collections.abc import Mapping, Sequence

from cfbench.errors import DataError
from cfbench.protocols import Cases
from cfbench.types import Batch, Values
from cfbench_text_ldm.texts import chosen


class ChosenCases:
    """The cases at some positions; satisfies `cfbench.protocols.Cases`."""

    def __init__(self, cases: Cases, index: Sequence[int]) -> None:
        self._cases, self._index = cases, list(index)

    @property
    def ids(self) -> tuple[str, ...]:
        """The cases' ids."""
        return tuple(self._cases.ids[i] for i in self._index)

    @property
    def patients(self) -> tuple[str, ...]:
        """The patient of each case."""
        return tuple(self._cases.patients[i] for i in self._index)

    @property
    def labels(self) -> Mapping[str, Values]:
        """Every label of each case."""
        return {name: column[self._index] for name, column in self._cases.labels.items()}

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self._index)

    def batch(self, index: Sequence[int]) -> Batch:
        """Return the cases at these positions."""
        return self._cases.batch([self._index[i] for i in index])


def without(cases: Cases, texts: Sequence[str], words: Sequence[str]) -> tuple[Cases, tuple[str, ...]]:
    """Return the cases, and their texts, that mention none of the words. Raises DataError if none is left."""
    if not words:
        return cases, tuple(texts)
    left = chosen(texts, words, leave_out=True)
    if not left:
        raise DataError(f"text-ldm: leave_out {', '.join(map(repr, words))} leaves none of the {len(texts)} cases")
    return ChosenCases(cases, left), tuple(texts[i] for i in left)
