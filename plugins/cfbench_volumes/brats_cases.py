"""Reads BraTS, in the Decathlon's layout and in that of its releases, whose masks mean different things by 1 to 4."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from cfbench.errors import DataError
from cfbench_files.cases import Prepared
from cfbench_files.dataset import FileDataset
from cfbench_files.listing import LeftOut, Listing, below, root_of
from cfbench_files.prepared import Case, Layout
from cfbench_files.table import read_table
from cfbench_volumes.brats import MASKS, PUBLISHED, Params
from cfbench_volumes.counts import beside_published
from cfbench_volumes.files import found
from cfbench_volumes.geometry import AXIAL, labels_on, middle, sample, sample_mask, turned
from cfbench_volumes.intensity import percentiles, stored, windowed
from cfbench_volumes.volume import digest_of, read_labels, read_volume, stem_of

#: Ends of the names of FLAIR images and of masks, from 2023 on and before.
_FLAIR = re.compile(r"^(?P<case>.+?)[-_](?P<kind>t2f|flair)\.nii(\.gz)?$", re.IGNORECASE)
_LONGITUDINAL = re.compile(r"^(BraTS-[A-Za-z]+-\d+)-\d+$")
_CHANNELS = 4
Masks = Mapping[str, Bool[np.ndarray, "*space"]]


@dataclass(frozen=True)
class Convention:
    """What the numbers in a mask mean."""

    edema: tuple[int, ...]
    #: Necrotic or non-enhancing core.
    core: tuple[int, ...]
    enhancing: tuple[int, ...]
    #: Numbers that are no tumour: the resection cavity of 2024's post-treatment cases.
    other: tuple[int, ...] = ()

    @property
    def tumour(self) -> tuple[int, ...]:
        """Return the labels of the whole tumour."""
        return (*self.edema, *self.core, *self.enhancing)


TASK01 = Convention(edema=(1,), core=(2,), enhancing=(3,))
#: Up to 2021 the enhancing tumour is 4; some copies were renumbered to 3, which then means the same.
UP_TO_2021 = Convention(edema=(2,), core=(1,), enhancing=(4, 3))
FROM_2023 = Convention(edema=(2,), core=(1,), enhancing=(3,), other=(4,))


@dataclass(frozen=True)
class Patient:
    """One case: an image and its mask."""

    name: str
    image: Path
    #: Which of the four volumes of a 4D image is FLAIR; None for an image of its own.
    channel: int | None
    mask: Path
    patient: str
    split: str
    convention: Convention
    #: The slices that the manifest names, if it is asked for.
    slices: tuple[int, ...]


def brats(params: Params) -> FileDataset:
    """Return the dataset."""
    space = (params.size,) * (2 if params.view == "slices" else 3)
    return FileDataset(
        "brats",
        lambda: list_patients(params),
        lambda patient: read_patient(patient, params),
        Layout(shape=(1, *space), dtype="uint16", masks=MASKS, labels=MASKS),
        strict=params.strict,
        notes=_notes if params.view == "slices" else lambda _: (),
    )


def _notes(prepared: Prepared) -> Sequence[str]:
    return beside_published(prepared, "edema", PUBLISHED, "Table 1 of Atad et al. 2024")


def list_patients(params: Params) -> Listing:
    """Return the cases below `root`. Raises DataError if there is none, or the layout is not known."""
    root = root_of(params.root)
    if root is None:
        raise DataError("brats: `root` is empty")
    described = next(
        (path for path in (root / "dataset.json", root / "Task01_BrainTumour/dataset.json") if path.is_file()), None
    )
    if params.layout == "task01" or (params.layout == "auto" and described):
        if described is None:
            raise DataError(f"{root} has no dataset.json: expected the Decathlon's Task01_BrainTumour")
        listing = _list_task01(described, params)
    else:
        listing = _list_folders(root, params)
    return _with_manifest(listing, root, params) if params.slices == "listed" and params.view == "slices" else listing


def _list_task01(described: Path, params: Params) -> Listing:
    """Return the training cases of `dataset.json`, in its order, which MONAI's split depends on."""
    try:
        facts = json.loads(described.read_text(encoding="utf-8"))
        training = [(entry["image"], entry["label"]) for entry in facts["training"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{described} is not the Decathlon's list of cases: {error}") from error
    channel, convention = _flair_of(facts, described), _convention_of(facts, described, params)
    held_out = set(monai_held_out(len(training)).tolist()) if params.split == "monai" else set()
    patients = []
    for number, (image, label) in enumerate(training):
        path = below(described.parent, image.removeprefix("./"), described.name)
        name = stem_of(path)
        split = params.drawn_split(name)
        if params.split == "monai":
            split = "test" if number in held_out else params.drawn_from_training(name)
        mask = below(described.parent, label.removeprefix("./"), described.name)
        patients.append(Patient(name, path, channel, mask, name, split, convention, ()))
    return Listing(*_once(patients, described.name))


def _flair_of(facts: Mapping[str, Any], path: Path) -> int:
    modalities = {
        str(number): str(name).upper() for number, name in dict(facts.get("modality", {"0": "FLAIR"})).items()
    }
    numbers = [number for number, name in modalities.items() if name == "FLAIR"]
    if len(numbers) != 1 or not numbers[0].isdigit():
        raise DataError(f"{path}: expected FLAIR once among the modalities, found {modalities}")
    return int(numbers[0])


def _convention_of(facts: Mapping[str, Any], path: Path, params: Params) -> Convention:
    """Return what the file itself says of its labels: they must be the Decathlon's unless the owner says otherwise."""
    if params.labels != "auto":
        return TASK01 if params.labels == "task01" else UP_TO_2021
    names = {str(number): str(name).lower() for number, name in dict(facts.get("labels", {})).items()}
    if "edema" not in names.get("1", "edema"):
        raise DataError(
            f"{path}: label 1 is {names['1']!r}; in the Decathlon's Task01 it is edema. Say which `labels` these are"
        )
    return TASK01


def _list_folders(root: Path, params: Params) -> Listing:
    """Return the cases whose FLAIR image lies in a folder of their own, beside a mask."""
    if params.split == "monai":
        raise DataError("brats: `split: monai` is for the Decathlon's Task01, whose dataset.json has the order")
    patients = []
    for path in found(root, "*/*.nii*", "*/*/*.nii*"):
        if match := _FLAIR.match(path.name):
            case, newer = match["case"], match["kind"].lower() == "t2f"
            masks = found(path.parent, f"{case}[-_]seg.nii*")
            mask = masks[0] if masks else path.parent / f"{case}{'-' if newer else '_'}seg.nii.gz"
            subject = case_patient(case)
            convention = TASK01 if params.labels == "task01" else FROM_2023 if newer else UP_TO_2021
            patients.append(Patient(case, path, None, mask, subject, params.drawn_split(subject), convention, ()))
    if not patients:
        raise DataError(
            f"{root}: expected CASE/CASE-t2f.nii.gz or CASE/CASE_flair.nii.gz, or the Decathlon's dataset.json"
        )
    return Listing(*_once(patients, root.name))


def case_patient(case: str) -> str:
    """Return the patient of a case: from 2023 on, its last three digits count visits."""
    match = _LONGITUDINAL.match(case)
    return match[1] if match else case


def monai_held_out(count: int) -> Int64[np.ndarray, " n"]:
    """Return the positions that MONAI's `DecathlonDataset(seed=0, val_frac=0.2)` holds out for validation."""
    order = np.arange(count)
    np.random.RandomState(0).shuffle(order)
    return order[: int(count * 0.2)]


def _once(patients: Sequence[Patient], where: str) -> tuple[list[Patient], list[LeftOut]]:
    seen: dict[str, Patient] = {}
    left = []
    for patient in patients:
        if seen.setdefault(patient.name, patient) is not patient:
            left.append(LeftOut(patient.name, f"{where}: case {patient.name!r} is there twice; the first one counts"))  # noqa: PERF401 - the condition has an effect
    return list(seen.values()), left


def _with_manifest(listing: Listing, root: Path, params: Params) -> Listing:
    slices: dict[str, set[int]] = {}
    left = list(listing.left_out)
    for row in read_table(below(root, params.manifest, "manifest"), ["case", "slice"]):
        try:
            slices.setdefault(row.text("case"), set()).add(int(row.number("slice", range(params.size))))
        except (DataError, ValueError) as error:
            left.append(LeftOut(row["case"], f"{row.where}: {error}"))
    known = {patient.name for patient in listing.sources}
    left += [LeftOut(name, f"{params.manifest}: there is no case {name!r}") for name in slices if name not in known]
    chosen = [
        Patient(**{**vars(patient), "slices": tuple(sorted(slices[patient.name]))})
        for patient in listing.sources
        if patient.name in slices
    ]
    return Listing(chosen, left)


def read_patient(patient: Patient, params: Params) -> Iterator[Case | LeftOut]:
    """Yield the slices, or the block, of a case. Raises DataError if its files cannot be used."""
    image, masks, digests = _block(patient, params)
    if params.view == "volumes":
        yield _case(patient.name, patient, image, masks, digests)
        return
    for number in chosen_slices(patient, image, masks["edema"], params):
        cut = {name: mask[number] for name, mask in masks.items()}
        yield _case(f"{patient.name}_z{number:02d}", patient, image[number], cut, digests)


def _block(patient: Patient, params: Params) -> tuple[Float32[np.ndarray, "d h w"], Masks, Mapping[str, str]]:
    """Return the block in the middle of the head, in [0, 1], and its masks."""
    raw = read_volume(patient.image, patient.channel, 0 if patient.channel is None else _CHANNELS)
    flair = turned(raw, AXIAL)
    labels = labels_on(raw, read_labels(patient.mask), AXIAL, params.mask_grid)
    _check_labels({int(n) for n in np.unique(labels.voxels)}, patient)
    shape, spacing = (params.size,) * 3, (params.thickness, params.spacing, params.spacing)
    block = sample(flair, middle(flair), shape, spacing, outside=0.0, antialias=params.antialias)
    # Percentiles of the block, as in the paper: of the whole volume, which is mostly air, they would be lower.
    image = windowed(block, *percentiles(block, 0, params.upper, patient.image.name))
    named = {name: getattr(patient.convention, name) for name in MASKS}
    masks = {name: sample_mask(labels, wanted, middle(flair), shape, spacing) for name, wanted in named.items()}
    files = {f"{path.parent.name}/{path.name}": digest_of(path) for path in (patient.image, patient.mask)}
    return image, masks, files


def _check_labels(there: set[int], patient: Patient) -> None:
    """Raise DataError if a mask has numbers that mean nothing, or two things, under its convention."""
    known = {0, *patient.convention.tumour, *patient.convention.other}
    if there - known:
        raise DataError(
            f"{patient.mask.name}: it has labels {sorted(there)}; under this convention {sorted(known)} are known. "
            "Say which `labels` these are: task01 or brats"
        )
    if patient.convention is UP_TO_2021 and {3, 4} <= there:
        raise DataError(f"{patient.mask.name}: it has labels 3 and 4, of which one should be the enhancing tumour")


def chosen_slices(
    patient: Patient, image: Float32[np.ndarray, "d h w"], edema: Bool[np.ndarray, "d h w"], params: Params
) -> list[int]:
    """Return a case's slices: a function of its name, its image and its mask, by the same rule in every split.

    Raises:
        DataError: too few slices show enough of the brain.
    """
    if params.slices == "listed":
        return list(patient.slices)
    if params.slices == "centre":
        first = (params.size - params.per_volume) // 2
        return list(range(first, first + params.per_volume))
    shown = (image > 0).mean(axis=(1, 2)) >= max(params.brain, 1e-9)
    order = sorted(np.flatnonzero(shown).tolist(), key=lambda z: _drawn(patient.name, str(z), params))
    if len(order) < params.per_volume:
        raise DataError(f"{patient.image.name}: {len(order)} slices show brain on {params.brain:g} of their area")
    if params.slices == "random":
        return sorted(order[: params.per_volume])
    return sorted(_stratified(order, np.atleast_1d(edema.any(axis=(1, 2))), patient, params))


def _stratified(order: Sequence[int], positive: Bool[np.ndarray, " d"], patient: Patient, params: Params) -> list[int]:
    """Return slices with and without edema in turn; the first is drawn. Of what runs out, the other is taken."""
    queues = {side: [z for z in order if bool(positive[z]) is side] for side in (True, False)}
    side, result = _drawn(patient.name, "first", params) < 0.5, list[int]()
    while len(result) < params.per_volume:
        result.append(queues[side if queues[side] else not side].pop(0))
        side = not side
    return result


def _drawn(case: str, what: str, params: Params) -> float:
    """Return a number in [0, 1) that depends on these alone."""
    digest = sha256(f"slice {params.seed} {case} {what}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _case(
    name: str, patient: Patient, image: Float32[np.ndarray, "*space"], masks: Masks, digests: Mapping[str, str]
) -> Case:
    return Case(
        id=name,
        patient=patient.patient,
        split=patient.split,
        labels={name: float(mask.any()) for name, mask in masks.items()},
        image=stored(image)[None],
        masks=masks,
        where=patient.image.name,
        digests=digests,
    )
