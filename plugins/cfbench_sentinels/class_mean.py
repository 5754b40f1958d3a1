"""The mean training image of a class: everybody's image, and nobody's."""

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from cfbench.protocols import Context, Labelled, Models
from cfbench.specs import DatasetInfo, Task
from cfbench.types import Batch, Code, Explanation, Images, Targets, Values
from cfbench_nets.pool import ImagePool
from cfbench_sentinels.attribution import images_of
from cfbench_sentinels.plugin import RealParams
from cfbench_sentinels.silent import Silent
from cfbench_sentinels.wanted import answering, status_of

_CHUNK = 256


class ClassMean(Silent):
    """Answer with the mean training image of the target's class or grade.

    A line whose class or grade no training image has says so in its status.
    """

    def __init__(self, params: RealParams, data: DatasetInfo, task: Task) -> None:  # noqa: ARG002 - a factory's signature
        self.match, self.task = params.match, task
        #: The grades that training cases have; the sum of their images, in float64; and how many there are.
        self.grade: Values
        self.sums: Float[Tensor, "g c *space"]
        self.counts: Float[Tensor, " g"]

    def fit(self, train: Labelled, context: Context) -> None:
        """Sum the training images of each grade. Raises DataError if there are none."""
        pool, grades = ImagePool(train.cases), train.grade.cpu()
        self.grade, place = grades.unique(return_inverse=True)
        self.counts = torch.bincount(place).double()
        for start in range(0, len(pool), _CHUNK):
            index = range(start, min(start + _CHUNK, len(pool)))
            x = pool.take(index).double()
            if start == 0:
                self.sums = torch.zeros(len(self.grade), *x.shape[1:], dtype=torch.float64)
            self.sums.index_add_(0, place[list(index)], x)
            context.progress(index.stop, len(pool), "images")

    def save(self, folder: Path) -> None:
        """Write `mean.safetensors`: grades, sums and counts."""
        save_file({"grade": self.grade, "sums": self.sums, "counts": self.counts}, folder / "mean.safetensors")

    def load(self, folder: Path, context: Context) -> None:  # noqa: ARG002 - an image per grade: the CPU will do
        """Restore what `save` wrote."""
        tensors = load_file(folder / "mean.safetensors")
        self.grade, self.sums, self.counts = tensors["grade"], tensors["sums"], tensors["counts"]

    def explain(
        self,
        models: Models,  # noqa: ARG002 - protocol
        batch: Batch,
        code: Code | None,  # noqa: ARG002 - protocol
        targets: Targets,
        context: Context,  # noqa: ARG002 - protocol
    ) -> Explanation:
        """Return the mean of each line's class or grade; lines without one have a status and black images."""
        part = answering(targets, self.grade, self.task, self.match).double()
        counts = part @ self.counts
        means: Images = torch.einsum("bg,g...->b...", part, self.sums).float()
        means = means / counts.clamp(min=1).float().reshape(-1, *[1] * (means.ndim - 1))
        return Explanation(means.to(images_of(batch).device), status_of(counts > 0, targets, self.match))
