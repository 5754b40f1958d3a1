"""Offers the sets of chest radiographs."""

from collections.abc import Callable, Iterable
from typing import Any

from cfbench.hookspecs import hookimpl
from cfbench.specs import DatasetInfo, DatasetSpec
from cfbench_radiographs import chexpert, cohen, covid, mimic


def _spec(
    name: str, factory: str, summary: str, params: type, describe: Callable[[Any], DatasetInfo], citation: str
) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        factory=f"cfbench_radiographs.datasets:{factory}",
        summary=summary,
        params=params,
        describe=describe,
        citation=citation,
        prepares=True,
        dims=(2,),
        threads=8,
    )


@hookimpl
def cfbench_datasets() -> Iterable[DatasetSpec]:
    """Offer the datasets."""
    return [
        _spec(
            mimic.NAME,
            "mimic_cxr_jpg",
            "Frontal chest radiographs (gated): lung opacity, pneumonia, cardiomegaly; `edema_severity` 0 to 3.",
            mimic.MimicParams,
            mimic.describe,
            "Johnson et al., MIMIC-CXR-JPG, arXiv:1901.07042; Liao et al., Pulmonary edema severity grades, 2021",
        ),
        _spec(
            chexpert.NAME,
            "chexpert",
            "Frontal chest radiographs (gated): `cardiomegaly` and other findings, 0 or 1.",
            chexpert.ChexpertParams,
            chexpert.describe,
            "Irvin et al., CheXpert: a large chest radiograph dataset with uncertainty labels, AAAI 2019",
        ),
        _spec(
            covid.NAME,
            "covid_radiography",
            "Chest radiographs with lung masks: normal, lung opacity, viral pneumonia, COVID-19.",
            covid.CovidParams,
            covid.describe,
            "Chowdhury et al., IEEE Access 8, 2020; Rahman et al., Computers in Biology and Medicine 132, 2021",
        ),
        _spec(
            cohen.NAME,
            "cohen_cxr",
            "Chest radiographs of case reports: lesion and lung masks, severities, clinical notes as text.",
            cohen.CohenParams,
            cohen.describe,
            "Cohen et al., COVID-19 image data collection: prospective predictions are the future, arXiv:2006.11988",
        ),
    ]
