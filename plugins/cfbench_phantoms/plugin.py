"""What this plugin offers: the phantoms, described without importing numpy or torch."""

from collections.abc import Iterable

from cfbench.hookspecs import hookimpl
from cfbench.specs import DatasetSpec
from cfbench_phantoms.params import (
    FACTS,
    BrainParams,
    ChestParams,
    DiscParams,
    FundusParams,
    PhantomParams,
    VertebraParams,
    describe,
)


def _offer(params: type[PhantomParams], factory: str, summary: str, citation: str) -> DatasetSpec:
    """Return the spec of one phantom."""
    facts = FACTS[params]
    return DatasetSpec(
        name=facts.name,
        factory=f"cfbench_phantoms.{factory}",
        summary=summary,
        params=params,
        version=facts.version,
        citation=citation,
        dims=(2, 3) if params is BrainParams else (2,),
        loads=("scipy.ndimage",),
        describe=describe,
    )


@hookimpl
def cfbench_datasets() -> Iterable[DatasetSpec]:
    """Offer the phantoms."""
    return [
        _offer(
            VertebraParams,
            "vertebra:VertebraPhantom",
            "sagittal CT-like vertebrae with Genant fractures and exact counterfactuals (embedded)",
            "Grades: Genant et al., J Bone Miner Res 8(9):1137-1148, 1993",
        ),
        _offer(
            ChestParams,
            "chest:ChestPhantom",
            "chest radiographs with lung opacities, heart sizes, reports and exact counterfactuals (embedded)",
            "Cardiothoracic ratio: Danzer, Am J Med Sci 157:513-521, 1919",
        ),
        _offer(
            FundusParams,
            "fundus:FundusPhantom",
            "colour fundus photographs with diabetic lesions, their masks and exact counterfactuals (embedded)",
            "Grades after: Wilkinson et al., Ophthalmology 110(9):1677-1682, 2003",
        ),
        _offer(
            BrainParams,
            "brain:BrainPhantom",
            "T1-like heads with enlarged ventricles, slices or volumes, and exact counterfactuals (embedded)",
            "Ventricle-brain ratio: Synek and Reuben, Br J Radiol 49:233-237, 1976",
        ),
        _offer(
            DiscParams,
            "disc:DiscPhantom",
            "T2-like lumbar discs with Pfirrmann-like degeneration and exact counterfactuals (embedded)",
            "Grades after: Pfirrmann et al., Spine 26(17):1873-1878, 2001",
        ),
    ]
