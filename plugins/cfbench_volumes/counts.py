"""Counts that papers report, beside those of the files that were read."""

from collections.abc import Mapping, Sequence

import numpy as np

from cfbench_files.cases import Prepared


def beside_published(
    prepared: Prepared, label: str, published: Mapping[float, int], source: str, split: str = ""
) -> Sequence[str]:
    """Return lines that set the number of cases with each value of a label beside a paper's.

    Args:
        prepared: the cases.
        label: its name.
        published: value to the paper's count.
        source: which table of which paper.
        split: count in this split only; empty: in all.
    """
    values = prepared.index[f"label:{label}"].astype(np.float64)
    if split:
        values = values[prepared.index["split"] == split]
    counts = {value: int((values == value).sum()) for value in published}
    lines = [f"{source}, {label}{f' in {split}' if split else ''}: published / here"]
    lines += [f"  {value:g}: {count:,} / {counts[value]:,}" for value, count in published.items()]
    agree = "the same" if counts == dict(published) else "not the same: see docs/datasets-volumes.md for what is known"
    return [*lines, f"  {agree}"]
