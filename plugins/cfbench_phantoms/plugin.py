"""What this plugin offers: the vertebra phantom, described without importing numpy or torch."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from cfbench.errors import DataError
from cfbench.hookspecs import hookimpl
from cfbench.specs import DatasetInfo, DatasetSpec, param

#: Bumped when an image, a label or a split of the same parameters changes.
VERSION = 1
#: Genant's grades: none, mild, moderate, severe.
GRADES = (0.0, 1.0, 2.0, 3.0)


@dataclass(frozen=True)
class VertebraParams:
    """Parameters of the vertebra phantom."""

    size: int = param(48, "side of the square patch in pixels, at least 16")
    patients: int = param(800, "number of patients; the first n are the same for every number")
    images_per_patient: float = param(2.5, "vertebrae per patient on average, 1 to 5 (2.5: two or three)")
    seed: int = param(0, "another seed is another cohort")
    valid: float = param(0.1, "share of the patients in the split `valid`")
    test: float = param(0.2, "share of the patients in the split `test`; the rest is `train`")
    grade_weights: tuple[float, ...] = param((0.5, 0.1, 0.2, 0.2), "relative frequency of the Genant grades 0 to 3")
    neighbour_fracture: float = param(0.15, "probability that a neighbour is fractured (grade 2 or 3)")
    implants: float = param(0.06, "probability of a metal screw through the pedicle of the centre or a neighbour")
    noise: float = param(5.0, "standard deviation of the noise in grey levels of 255; patients vary by a third")


def check(params: VertebraParams) -> None:
    """Raise DataError, naming the field, if no cohort can be made with these parameters."""
    rules = {
        "size": (params.size >= 16, "at least 16 pixels"),
        "patients": (params.patients >= 1, "at least 1"),
        "images_per_patient": (1 <= params.images_per_patient <= 5, "between 1 and 5"),
        "seed": (params.seed >= 0, "0 or more"),
        "valid": (0 <= params.valid < 1, "in [0, 1)"),
        "test": (0 <= params.test < 1 - params.valid, "in [0, 1 - valid): training needs patients too"),
        "grade_weights": (
            len(params.grade_weights) == len(GRADES) and min(params.grade_weights) >= 0 < sum(params.grade_weights),
            "four weights (grades 0 to 3), none negative, not all 0",
        ),
        "neighbour_fracture": (0 <= params.neighbour_fracture <= 1, "a probability"),
        "implants": (0 <= params.implants <= 1, "a probability"),
        "noise": (0 <= params.noise <= 64, "between 0 and 64 grey levels"),
    }
    for field, (holds, expected) in rules.items():
        if not holds:
            raise DataError(f"vertebra-phantom: {field} must be {expected}, not {getattr(params, field)}")


def describe(params: VertebraParams) -> DatasetInfo:
    """Return what is known without drawing an image. Raises DataError for impossible parameters."""
    check(params)
    filled = json.dumps(asdict(params), sort_keys=True, separators=(",", ":"))
    return DatasetInfo(
        channels=1,
        space=(params.size, params.size),
        labels={"genant": GRADES},
        fingerprint=f"vertebra-phantom/{VERSION}/{filled}",
        truth=True,
        licence="Apache-2.0",
    )


@hookimpl
def cfbench_datasets() -> Iterable[DatasetSpec]:
    """Offer the vertebra phantom."""
    return [
        DatasetSpec(
            name="vertebra-phantom",
            factory="cfbench_phantoms.vertebra:VertebraPhantom",
            summary="sagittal CT-like vertebrae with Genant fractures and exact counterfactuals (embedded)",
            params=VertebraParams,
            version=VERSION,
            citation="Grades: Genant et al., J Bone Miner Res 8(9):1137-1148, 1993",
            describe=describe,
        )
    ]
