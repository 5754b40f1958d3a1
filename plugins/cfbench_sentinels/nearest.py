"""The nearest real image: a perfect image of the wrong patient."""

from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
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


class Nearest(Silent):
    """Answer with the training image of the target's class or grade that is nearest to x in L2.

    A line whose class or grade no training image has says so in its status.
    """

    def __init__(self, params: RealParams, data: DatasetInfo, task: Task) -> None:  # noqa: ARG002 - a factory's signature
        self.match, self.task = params.match, task
        #: All training images and their grades.
        self.x: Images
        self.grade: Values

    def fit(self, train: Labelled, context: Context) -> None:
        """Keep the training images. Raises DataError if there are none."""
        pool = ImagePool(train.cases)
        self.x, self.grade = pool.take(range(len(pool))), train.grade.cpu()
        context.progress(len(pool), len(pool), "images")

    def save(self, folder: Path) -> None:
        """Write `nearest.safetensors`: the images, unchanged, and their grades."""
        save_file({"x": self.x.contiguous(), "grade": self.grade.contiguous()}, folder / "nearest.safetensors")

    def load(self, folder: Path, context: Context) -> None:
        """Restore what `save` wrote onto `context.device`."""
        tensors = load_file(folder / "nearest.safetensors", device=context.device)
        self.x, self.grade = tensors["x"], tensors["grade"]

    def explain(
        self,
        models: Models,  # noqa: ARG002 - protocol
        batch: Batch,
        code: Code | None,  # noqa: ARG002 - protocol
        targets: Targets,
        context: Context,  # noqa: ARG002 - protocol
    ) -> Explanation:
        """Return a training image per line; lines without one have a status and black images."""
        x = images_of(batch).to(self.x.device)
        candidates = answering(targets, self.grade, self.task, self.match)
        found = candidates.any(dim=1)
        x_cf = torch.zeros_like(x)
        x_cf[found] = self.x[nearest(x[found], self.x, candidates[found])]
        return Explanation(x_cf, status_of(found, targets, self.match))


def nearest(x: Images, among: Float[Tensor, "n c *space"], candidates: Bool[Tensor, "b n"]) -> Int[Tensor, " b"]:
    """Return for each x the position of the nearest candidate in L2, the first of equals."""
    # Not by matrix products: their rounding would shuffle near neighbours.
    distance = torch.cdist(x.flatten(1), among.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    return distance.where(candidates.to(distance.device), torch.inf).argmin(dim=1)
