"""Offers `image-folder`."""

from collections.abc import Iterable

from cfbench.hookspecs import hookimpl
from cfbench.specs import DatasetSpec
from cfbench_folder.params import FolderParams, describe


@hookimpl
def cfbench_datasets() -> Iterable[DatasetSpec]:
    """Offer the dataset."""
    yield DatasetSpec(
        name="image-folder",
        factory="cfbench_folder.dataset:image_folder",
        summary="Your own images: a folder per class, or files and a table (label, patient, split, masks, text).",
        params=FolderParams,
        describe=describe,
        prepares=True,
        dims=(2,),
        threads=8,
    )
