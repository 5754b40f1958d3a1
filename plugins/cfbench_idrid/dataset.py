"""IDRiD, built."""

from collections.abc import Sequence

from cfbench_files.cases import Prepared
from cfbench_files.dataset import FileDataset
from cfbench_files.images import Geometry
from cfbench_files.pictures import Reading, picture_dataset
from cfbench_idrid.params import MASKS, NAME, PUBLISHED, IdridParams, labels_of, listing


def idrid(params: IdridParams) -> FileDataset:
    """Return the photographs of a part. A pixel is lesion if any pixel under it is: microaneurysms survive."""
    reading = Reading(geometry=Geometry(params.size, params.fit), channels=3, bits=8, rules=dict.fromkeys(MASKS, "any"))

    def notes(prepared: Prepared) -> Sequence[str]:
        masks = {name: int((prepared.index[f"mask:{name}"] >= 0).sum()) for name in MASKS}
        count, published = len(prepared.index["id"]), PUBLISHED[params.part]
        return [
            "masks: " + ", ".join(f"{name} {number}" for name, number in masks.items()),
            f"{count} photographs; the archive has {published} ({params.part}), some of them twice",
        ]

    return picture_dataset(
        NAME, lambda: listing(params), reading, tuple(labels_of(params)), strict=params.strict, notes=notes
    )
