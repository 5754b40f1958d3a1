"""Parameters of the phantoms and what can be known of them without drawing an image. Imports no numpy, no torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from cfbench.errors import DataError
from cfbench.specs import DatasetInfo, param

#: Value of `prevalence` that leaves the grade weights as they are.
NATURAL = -1.0


@dataclass(frozen=True)
class PhantomParams:
    """What every phantom can be asked for."""

    size: int = param(64, "side of the square image in pixels, at least 16")
    patients: int = param(800, "number of patients; the first n are the same for every number")
    images_per_patient: float = param(2.5, "images per patient on average, 1 to 5 (2.5: two or three)")
    seed: int = param(0, "another seed is another cohort")
    valid: float = param(0.1, "share of the patients in the split `valid`")
    test: float = param(0.2, "share of the patients in the split `test`; the rest is `train`")
    grade_weights: tuple[float, ...] = param((1.0,), "relative frequency of the grades")
    prevalence: float = param(NATURAL, "share of positive cases; -1: as the grade weights say")
    shortcut: float = param(0.0, "correlation of a spurious mark with the positive class in train and valid, 0 to 1")
    shortcut_test: float = param(0.0, "the same correlation in test; no image has a mark if both are 0")
    shortcut_kind: Literal["tag", "shift"] = param("tag", "the mark: a bright tag in a corner, or anatomy moved right")
    noise: float = param(5.0, "standard deviation of the noise in grey levels of 255; patients vary by a third")


@dataclass(frozen=True)
class VertebraParams(PhantomParams):
    """Parameters of the vertebra phantom."""

    size: int = param(48, "side of the square patch in pixels, at least 16")
    images_per_patient: float = param(2.5, "vertebrae per patient on average, 1 to 5 (2.5: two or three)")
    grade_weights: tuple[float, ...] = param((0.5, 0.1, 0.2, 0.2), "relative frequency of the Genant grades 0 to 3")
    neighbour_fracture: float = param(0.15, "probability that a neighbour is fractured (grade 2 or 3)")
    implants: float = param(0.06, "probability of a metal screw through the pedicle of the centre or a neighbour")


@dataclass(frozen=True)
class ChestParams(PhantomParams):
    """Parameters of the chest phantom."""

    grade_weights: tuple[float, ...] = param((0.4, 0.2, 0.2, 0.2), "relative frequency of the opacity grades 0 to 3")
    enlarged: float = param(0.3, "probability of an enlarged heart, whatever the opacity")
    devices: float = param(0.1, "probability of a pacemaker")


@dataclass(frozen=True)
class FundusParams(PhantomParams):
    """Parameters of the fundus phantom."""

    grade_weights: tuple[float, ...] = param(
        (0.4, 0.15, 0.2, 0.15, 0.1), "relative frequency of the retinopathy grades 0 to 4"
    )


@dataclass(frozen=True)
class BrainParams(PhantomParams):
    """Parameters of the brain phantom."""

    depth: int = param(0, "slices of a volume, at least 16; 0: one axial slice (a 2D image)")
    grade_weights: tuple[float, ...] = param((0.4, 0.2, 0.2, 0.2), "relative frequency of the atrophy grades 0 to 3")


@dataclass(frozen=True)
class DiscParams(PhantomParams):
    """Parameters of the disc phantom."""

    images_per_patient: float = param(2.5, "discs per patient on average, 1 to 5 (2.5: two or three)")
    grade_weights: tuple[float, ...] = param(
        (0.2, 0.2, 0.2, 0.2, 0.2), "relative frequency of the Pfirrmann-like grades 0 to 4"
    )


@dataclass(frozen=True)
class Facts:
    """What is fixed for one kind of phantom."""

    name: str
    #: Bumped when an image, a label or a split of the same parameters changes.
    version: int
    channels: int
    #: Label to its values in order; none = it is continuous. The first is the one that the cohort is drawn by.
    labels: Mapping[str, tuple[float, ...]]
    #: Grades of the first label from this one on are positive: for `prevalence` and `shortcut`.
    positive_from: float
    masks: tuple[str, ...]
    #: Labels that can be measured on any image; those that can be set, too, save where it says otherwise.
    measures: tuple[str, ...]
    #: Label to a word for each of its values, as they occur in the cases' texts.
    words: Mapping[str, tuple[str, ...]]

    @property
    def grades(self) -> tuple[float, ...]:
        """The grades of the first label."""
        return next(iter(self.labels.values()))


VERTEBRA = Facts(
    "vertebra-phantom",
    1,
    1,
    {"genant": (0.0, 1.0, 2.0, 3.0)},
    2.0,
    ("vertebra",),
    ("genant",),
    {"genant": ("no fracture", "mild fracture", "moderate fracture", "severe fracture")},
)
CHEST = Facts(
    "chest-phantom",
    1,
    1,
    {"opacity": (0.0, 1.0, 2.0, 3.0), "side": (0.0, 1.0), "cardiomegaly": (0.0, 1.0), "cardiothoracic_ratio": ()},
    1.0,
    ("lesion", "lungs", "heart"),
    ("opacity", "side", "cardiomegaly", "cardiothoracic_ratio"),
    {
        "opacity": ("no opacity", "small opacity", "moderate opacity", "large opacity"),
        "side": ("opacity on the left", "opacity on the right"),
        "cardiomegaly": ("normal heart", "enlarged heart"),
    },
)
FUNDUS = Facts(
    "fundus-phantom",
    1,
    3,
    {"retinopathy": (0.0, 1.0, 2.0, 3.0, 4.0)},
    2.0,
    ("lesion", "haemorrhages", "exudates", "optic_disc"),
    ("retinopathy",),
    {
        "retinopathy": (
            "no retinopathy",
            "mild retinopathy",
            "moderate retinopathy",
            "severe retinopathy",
            "proliferative retinopathy",
        )
    },
)
BRAIN = Facts(
    "brain-phantom",
    1,
    1,
    {"atrophy": (0.0, 1.0, 2.0, 3.0)},
    2.0,
    ("ventricles", "brain"),
    ("atrophy",),
    {"atrophy": ("no atrophy", "mild atrophy", "moderate atrophy", "severe atrophy")},
)
DISC = Facts(
    "disc-phantom",
    1,
    1,
    {"pfirrmann": (0.0, 1.0, 2.0, 3.0, 4.0)},
    3.0,
    ("disc",),
    ("pfirrmann",),
    {
        "pfirrmann": (
            "intact disc",
            "slightly degenerated disc",
            "moderately degenerated disc",
            "severely degenerated disc",
            "collapsed disc",
        )
    },
)
FACTS: Mapping[type, Facts] = {
    VertebraParams: VERTEBRA,
    ChestParams: CHEST,
    FundusParams: FUNDUS,
    BrainParams: BRAIN,
    DiscParams: DISC,
}


def space_of(params: PhantomParams) -> tuple[int, ...]:
    """Return the image's shape: (size, size), or (depth, size, size) for a volume."""
    depth = params.depth if isinstance(params, BrainParams) else 0
    return (depth, params.size, params.size) if depth else (params.size, params.size)


def weights_of(params: PhantomParams) -> tuple[float, ...]:
    """Return the frequencies of the grades: the weights, scaled so that the positive ones have the prevalence."""
    if params.prevalence == NATURAL:
        return params.grade_weights
    facts = FACTS[type(params)]
    positive = [grade >= facts.positive_from for grade in facts.grades]
    share = {True: params.prevalence, False: 1 - params.prevalence}
    total = {sign: sum(w for w, p in zip(params.grade_weights, positive, strict=True) if p == sign) for sign in share}
    scale = {sign: share[sign] / total[sign] if share[sign] else 0.0 for sign in share}
    return tuple(w * scale[p] for w, p in zip(params.grade_weights, positive, strict=True))


def positive_share(params: PhantomParams) -> float:
    """Return the probability that a case is positive."""
    facts, weights = FACTS[type(params)], weights_of(params)
    return sum(w for w, g in zip(weights, facts.grades, strict=True) if g >= facts.positive_from) / sum(weights)


def check(params: PhantomParams) -> None:
    """Raise DataError, naming the field, if no cohort can be made with these parameters."""
    for field, (holds, expected) in (_common(params) | _own(params)).items():
        if not holds:
            raise DataError(f"{FACTS[type(params)].name}: {field} must be {expected}, not {getattr(params, field)}")


def _common(params: PhantomParams) -> dict[str, tuple[bool, str]]:
    """Return field name to whether it is sound, and what was expected."""
    n = len(FACTS[type(params)].grades)
    weights = params.grade_weights
    sound = len(weights) == n and min(weights) >= 0 < sum(weights)
    return {
        "size": (params.size >= 16, "at least 16 pixels"),
        "patients": (params.patients >= 1, "at least 1"),
        "images_per_patient": (1 <= params.images_per_patient <= 5, "between 1 and 5"),
        "seed": (params.seed >= 0, "0 or more"),
        "valid": (0 <= params.valid < 1, "in [0, 1)"),
        "test": (0 <= params.test < 1 - params.valid, "in [0, 1 - valid): training needs patients too"),
        "grade_weights": (sound, f"{n} weights (grades 0 to {n - 1}), none negative, not all 0"),
        "prevalence": (
            not sound or _possible(params),
            "-1 (natural) or a share in [0, 1], with weights above 0 for grades of each class that it asks for",
        ),
        "shortcut": (0 <= params.shortcut <= 1, "a correlation in [0, 1]"),
        "shortcut_test": (0 <= params.shortcut_test <= 1, "a correlation in [0, 1]"),
        "noise": (0 <= params.noise <= 64, "between 0 and 64 grey levels"),
    }


def _possible(params: PhantomParams) -> bool:
    """Tell whether the grade weights can be scaled to the prevalence."""
    if params.prevalence == NATURAL:
        return True
    facts = FACTS[type(params)]
    pairs = list(zip(params.grade_weights, facts.grades, strict=True))
    diseased = any(w > 0 for w, grade in pairs if grade >= facts.positive_from)
    healthy = any(w > 0 for w, grade in pairs if grade < facts.positive_from)
    return 0 <= params.prevalence <= 1 and (diseased or params.prevalence == 0) and (healthy or params.prevalence == 1)


def _own(params: PhantomParams) -> dict[str, tuple[bool, str]]:
    """Return the same for the fields that this kind of phantom has beside the common ones."""
    probabilities = {
        name: (0 <= getattr(params, name) <= 1, "a probability")
        for name in ("neighbour_fracture", "implants", "enlarged", "devices")
        if hasattr(params, name)
    }
    if isinstance(params, BrainParams):
        return {"depth": (params.depth == 0 or params.depth >= 16, "0 (one slice) or at least 16 slices")}
    return probabilities


def describe(params: PhantomParams) -> DatasetInfo:
    """Return what is known without drawing an image. Raises DataError for impossible parameters."""
    check(params)
    facts = FACTS[type(params)]
    filled = json.dumps(asdict(params), sort_keys=True, separators=(",", ":"))
    return DatasetInfo(
        channels=facts.channels,
        space=space_of(params),
        labels=facts.labels,
        fingerprint=f"{facts.name}/{facts.version}/{filled}",
        masks=facts.masks,
        measures=facts.measures,
        prompts={name: dict(zip(facts.labels[name], words, strict=True)) for name, words in facts.words.items()},
        truth=True,
        licence="Apache-2.0",
    )
