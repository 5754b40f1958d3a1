"""The step that reads a dataset's files once, into a folder that all other steps of it read."""

from cfbench.errors import PluginError
from cfbench.protocols import PreparingDataset
from cfbench.steps.work import Work


def prepare(work: Work) -> None:
    """Store what the dataset makes of its files."""
    dataset = work.build("dataset")
    if not isinstance(dataset, PreparingDataset):
        raise PluginError(f"{work.payload['dataset']['use']} says that it prepares, but has no `prepare` and `load`")
    dataset.prepare(work.out, work.context)
