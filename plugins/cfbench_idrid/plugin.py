"""Offers `idrid`."""

from collections.abc import Iterable

from cfbench.hookspecs import hookimpl
from cfbench.specs import DatasetSpec
from cfbench_idrid.params import NAME, IdridParams, describe


@hookimpl
def cfbench_datasets() -> Iterable[DatasetSpec]:
    """Offer the dataset."""
    yield DatasetSpec(
        name=NAME,
        factory="cfbench_idrid.dataset:idrid",
        summary="Fundus photographs; `grade` of diabetic retinopathy 0 to 4; drawn lesions as masks.",
        params=IdridParams,
        describe=describe,
        citation="Porwal et al., Indian Diabetic Retinopathy Image Dataset (IDRiD), Data 3(3):25, 2018",
        prepares=True,
        dims=(2,),
        threads=8,
    )
