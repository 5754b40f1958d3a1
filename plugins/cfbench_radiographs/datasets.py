"""The sets of radiographs, built: listings from the light half, images by the shared reader."""

from collections.abc import Sequence

from cfbench_files.cases import Prepared
from cfbench_files.dataset import FileDataset
from cfbench_files.images import Geometry
from cfbench_files.pictures import Reading, beside, counted, picture_dataset
from cfbench_radiographs import chexpert as chexpert_
from cfbench_radiographs import cohen, covid, mimic


def covid_radiography(params: covid.CovidParams) -> FileDataset:
    """Return the COVID-19 Radiography Database. Its lung masks have another resolution than its images."""
    reading = Reading(
        geometry=Geometry(params.size, "pad"),
        bits=8,
        rules={"lung": "half"} if params.masks == "lung" else {},
        scaled=True,
    )
    labels = tuple(covid.describe(params).labels)
    return picture_dataset(
        covid.NAME,
        lambda: covid.listing(params),
        reading,
        labels,
        strict=params.strict,
        notes=lambda prepared: _covid_notes(prepared, params),
    )


def _covid_notes(prepared: Prepared, params: covid.CovidParams) -> Sequence[str]:
    why = "known: the public release has 6,012 of Lung_Opacity; a subset of it has less of everything"
    paper = {value: n for value, n in covid.PAPER.items() if any(covid.CLASSES[c][0] == value for c in params.classes)}
    return [*covid.spreadsheets(params), beside(prepared, "finding", paper, "Siddiqui et al. 2025", why)]


def chexpert(params: chexpert_.ChexpertParams) -> FileDataset:
    """Return CheXpert's frontal images."""
    labels = tuple(chexpert_.describe(params).labels)
    reading = Reading(geometry=Geometry(params.size, params.fit), bits=8, rules={})
    why = "their filter is not stated"

    def notes(prepared: Prepared) -> Sequence[str]:
        known = "cardiomegaly" in labels
        return [beside(prepared, "cardiomegaly", chexpert_.PAPER, "Siddiqui et al. 2025", why)] if known else []

    listing = lambda: chexpert_.listing(params)  # noqa: E731 - as in the others
    return picture_dataset(chexpert_.NAME, listing, reading, labels, strict=params.strict, notes=notes)


def mimic_cxr_jpg(params: mimic.MimicParams) -> FileDataset:
    """Return MIMIC-CXR-JPG's frontal images."""
    reading = Reading(geometry=Geometry(params.size, params.fit), bits=8, rules={})
    labels = tuple(mimic.describe(params).labels)
    why = {
        mimic.EDEMA: "the paper's 7,137 are images, the tables grade reports; it does not say which views count",
    }
    other = "the paper's labels are CheXbert's, which MIMIC-CXR-JPG does not have"

    def notes(prepared: Prepared) -> Sequence[str]:
        lines = [f"{len(prepared.index['id']):,} images (paper: 166,512 for the generator)"]
        return lines + [
            beside(prepared, label, counts, "Atad et al. 2024, Table 1", why.get(label, other))
            for label, counts in mimic.PAPER.items()
        ]

    listing = lambda: mimic.listing(params)  # noqa: E731 - as in the others
    return picture_dataset(mimic.NAME, listing, reading, labels, strict=params.strict, notes=notes)


def cohen_cxr(params: cohen.CohenParams) -> FileDataset:
    """Return the frontal radiographs of the COVID-19 image data collection."""
    reading = Reading(
        geometry=Geometry(params.size, params.fit), bits=8, rules={"lesion": "any", "lung": "half", "lung_auto": "half"}
    )
    labels = tuple(cohen.describe(params).labels)

    def notes(prepared: Prepared) -> Sequence[str]:
        masks = {name: int((prepared.index[f"mask:{name}"] >= 0).sum()) for name in cohen.MASKS}
        said = ", ".join(f"{name} {count}" for name, count in masks.items())
        texts = sum(bool(text) for text in prepared.index["text"])
        unknown = len(prepared.index["id"]) - sum(counted(prepared, "covid").values())
        return [f"masks: {said}", f"clinical notes: {texts}; finding not known yet: {unknown}"]

    listing = lambda: cohen.listing(params)  # noqa: E731 - as in the others
    return picture_dataset(cohen.NAME, listing, reading, labels, strict=params.strict, notes=notes)
