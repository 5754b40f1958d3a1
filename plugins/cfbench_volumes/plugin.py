"""Offers the sets of volumes. They are read from folders that their owner has downloaded."""

from collections.abc import Callable, Iterable
from typing import Any

from cfbench.hookspecs import hookimpl
from cfbench.specs import DatasetInfo, DatasetSpec
from cfbench_volumes import adni, brats, folder, spider, verse


def _spec(
    name: str,
    factory: str,
    summary: str,
    params: type,
    describe: Callable[[Any], DatasetInfo],
    version: int,
    dims: tuple[int, ...],
    citation: str = "",
) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        factory=f"cfbench_volumes.{factory}",
        summary=summary,
        params=params,
        describe=describe,
        version=version,
        dims=dims,
        citation=citation,
        prepares=True,
        threads=8,
    )


@hookimpl
def cfbench_datasets() -> Iterable[DatasetSpec]:
    """Offer the datasets."""
    return [
        _spec(
            "verse",
            "verse_cases:verse",
            "CT of vertebrae (VerSe 2019 and 2020), sagittal patches; `grade`: Genant grade of fracture, 0 to 3.",
            verse.Params,
            verse.describe,
            verse.VERSION,
            (2,),
            "Sekuboyina et al., VerSe, Medical Image Analysis 73, 2021; Löffler et al., Radiology: AI 2(4), 2020",
        ),
        _spec(
            "spider",
            "spider_cases:spider",
            "MR of intervertebral discs (SPIDER), sagittal patches; `pfirrmann`: degeneration, 1 to 5.",
            spider.Params,
            spider.describe,
            spider.VERSION,
            (2,),
            "van der Graaf et al., Lumbar spine segmentation in MR images, Scientific Data 11:264, 2024",
        ),
        _spec(
            "brats",
            "brats_cases:brats",
            "FLAIR MR of gliomas (BraTS, Decathlon Task01), slices or volumes; `edema`: 0 or 1, with masks.",
            brats.Params,
            brats.describe,
            brats.VERSION,
            (2, 3),
            "Menze et al., IEEE TMI 34(10), 2015; Antonelli et al., Segmentation Decathlon, Nat. Comm. 13, 2022",
        ),
        _spec(
            "adni",
            "adni_cases:adni",
            "T1 MR of brains (ADNI, gated, or your own), 3D; `diagnosis`: 0 cognitively normal, 1 Alzheimer's disease.",
            adni.Params,
            adni.describe,
            adni.VERSION,
            (3,),
            "Jack et al., The Alzheimer's Disease Neuroimaging Initiative: MRI methods, JMRI 27(4), 2008",
        ),
        _spec(
            "volume-folder",
            "folder_cases:volume_folder",
            "Your own volumes: files and a table (label, patient, split, masks, text); 3D, or slices of a plane.",
            folder.Params,
            folder.describe,
            folder.VERSION,
            (2, 3),
        ),
    ]
