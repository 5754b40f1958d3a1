"""Offers the MedMNIST sets with a binary or ordinal label."""

from collections.abc import Iterable

from cfbench.hookspecs import hookimpl
from cfbench.specs import DatasetSpec
from cfbench_medmnist.table import ARCHIVES, Params

CITATION = (
    "Yang et al., MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image classification, "
    "Scientific Data 10:41, 2023"
)


@hookimpl
def cfbench_datasets() -> Iterable[DatasetSpec]:
    """Offer the datasets."""
    return [
        DatasetSpec(
            name=archive.name,
            factory=f"cfbench_medmnist.dataset:{archive.name}",
            summary=archive.summary,
            params=Params,
            citation=CITATION,
            dims=(archive.dims,),
            describe=archive.describe,
        )
        for archive in ARCHIVES
    ]
