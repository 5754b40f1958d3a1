"""The attribution: each image is edited into what is asked for, and the difference is the map of the disease."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from cfbench.errors import UndefinedError
from cfbench.protocols import Context, EditingGenerator, Labelled, Models
from cfbench.specs import DatasetInfo, Task
from cfbench.types import Batch, Code, Edit, Explanation, Images, Maps, Masks, Prediction, Targets
from cfbench_nets.seeds import seed_of
from cfbench_sdedit.maps import difference, over_draws, part_of, shown
from cfbench_sdedit.plugin import SDEditParams

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lines:
    """The lines of a batch that can be answered: their images and ids, their words, and what must not change."""

    x: Images
    ids: tuple[str, ...]
    prompts: tuple[str, ...]
    keep: Masks | None


class SDEdit:
    """Noise each image up to `strength`, denoise it under the target's words, and show the difference.

    The image-to-image edit of Siddiqui et al. (2025) with classifier-free guidance; what noises and denoises is the
    generator (`cfbench.types.Edit`). The counterfactual is the first draw, a real edit and not a mean of several; the
    map is of all draws (see `maps`). It learns nothing and has no opinion of its own.

    `flip` and `grade` targets are answered by the words for their grade: `prompt`, else the suite's for the task, else
    the dataset's. A grade without words is a status of its lines. Noise depends on the seed, the draw and the case's
    id alone, so the same case gets the same noise under every prompt and strength.
    """

    def __init__(self, params: SDEditParams, data: DatasetInfo, task: Task) -> None:
        self.params, self.data, self.task = params, data, task
        if params.guidance <= 1:
            log.warning("sdedit: guidance %g is at most 1, which is no guidance", params.guidance)

    def fit(self, train: Labelled, context: Context) -> None:
        """Learn nothing: the generator has learnt."""

    def save(self, folder: Path) -> None:
        """Write nothing."""

    def load(self, folder: Path, context: Context) -> None:
        """Read nothing."""

    def predict(
        self,
        models: Models,  # noqa: ARG002 - protocol
        batch: Batch,  # noqa: ARG002 - protocol
        code: Code | None,  # noqa: ARG002 - protocol
        context: Context,  # noqa: ARG002 - protocol
    ) -> Prediction:
        """Return no opinion."""
        return Prediction()

    def explain(
        self,
        models: Models,
        batch: Batch,
        code: Code | None,  # noqa: ARG002 - protocol: images are edited, whatever codes there are
        targets: Targets,
        context: Context,
    ) -> Explanation:
        """Return the first draw's edits and the maps; a line without words or with a broken edit says so.

        Raises:
            UndefinedError: the generator does not edit, there are no images, no grade has words, a mask is not there,
                or targets are of another kind than `flip` and `grade`.
        """
        generator, x = _editor(models), _images(batch)
        if targets.kind not in ("flip", "grade"):
            raise UndefinedError(f"sdedit answers targets of kind 'flip' and 'grade', not {targets.kind!r}")
        prompts, status = self._prompts(targets)
        good = [i for i, reason in enumerate(status) if reason == "ok"]
        x_cf, heat = torch.zeros_like(x), torch.zeros_like(x[:, :1])
        if good:
            edits, ground = self._draw(generator, self._lines(batch, x, prompts, good), context)
            abnormal = self._abnormal(targets)[good].to(x.device)
            x_cf[good] = edits[0]
            heat[good] = self._map(edits, ground, abnormal, self._mask(batch, self.params.organ, good))
        return Explanation(x_cf, _settled(x_cf, heat, status), heat)

    def _prompts(self, targets: Targets) -> tuple[tuple[str, ...], list[str]]:
        """Return the words of each line, and "ok" or why there are none."""
        if not self.params.text:
            return ("",) * len(targets.value), ["ok"] * len(targets.value)
        if not any(self.params.words(self.task, grade, self.data) for grade in self.task.grades):
            raise UndefinedError(f"sdedit {self.params.why_not(self.task, self.task.grades, self.data)}")
        values = targets.value.tolist()
        prompts = tuple(self.params.words(self.task, value, self.data) for value in values)
        return prompts, [
            "ok" if prompt else f"there are no words for grade {value:g} of {self.task.label}"
            for prompt, value in zip(prompts, values, strict=True)
        ]

    def _lines(self, batch: Batch, x: Images, prompts: Sequence[str], good: list[int]) -> Lines:
        within = self._mask(batch, self.params.within, good)
        return Lines(
            x[good],
            tuple(batch.ids[i] for i in good),
            tuple(prompts[i] for i in good),
            None if within is None else ~within,
        )

    def _draw(self, generator: EditingGenerator, lines: Lines, context: Context) -> tuple[list[Images], Images]:
        """Return every draw's edits, and the images that they are compared with."""
        params = self.params
        edit = Edit(lines.prompts, params.strength, params.guidance, params.steps, params.repeats, lines.keep)
        edits = []
        for draw in range(params.samples):
            context.progress(draw, params.samples, "draws")
            seeded = replace(context, seed=seed_of(context.seed, "sdedit", draw))
            edits.append(generator.edit(lines.x, lines.ids, edit, seeded).to(lines.x))
        if not params.residual:
            return edits, lines.x
        return edits, generator.edit(lines.x, lines.ids, replace(edit, strength=0.0), context).to(lines.x)

    def _map(self, edits: Sequence[Images], ground: Images, abnormal: Bool[Tensor, " b"], organ: Masks | None) -> Maps:
        maps = torch.stack([difference(edited, ground, abnormal) for edited in edits])
        return part_of(shown(over_draws(maps, self.params.draws), organ, self.params.threshold), self.params.part)

    def _abnormal(self, targets: Targets) -> Bool[Tensor, " b"]:
        """Return which lines ask for a grade of the positive class."""
        return torch.isin(targets.value, torch.tensor(self.task.positive).to(targets.value))

    def _mask(self, batch: Batch, name: str, good: list[int]) -> Masks | None:
        """Return a mask of the dataset by name, or none if none is named."""
        if not name:
            return None
        if name not in batch.masks:
            known = ", ".join(sorted(batch.masks)) or "none"
            raise UndefinedError(f"sdedit needs the mask {name!r}, which these cases lack (they have: {known})")
        return batch.masks[name][good]


def _editor(models: Models) -> EditingGenerator:
    if not isinstance(models.generator, EditingGenerator):
        raise UndefinedError("sdedit needs a generator that edits images under words")
    return models.generator


def _images(batch: Batch) -> Images:
    if batch.x is None:
        raise UndefinedError("sdedit edits images; the dataset has none")
    return batch.x


def _settled(x_cf: Images, heat: Maps, status: list[str]) -> tuple[str, ...]:
    """Return the statuses; an edit that is not finite becomes black, and says so."""
    for i, reason in enumerate(status):
        if reason == "ok" and not (x_cf[i].isfinite().all() and heat[i].isfinite().all()):
            x_cf[i], heat[i] = 0, 0
            status[i] = "the generator edited the image to values that are not finite"
    return tuple(status)
