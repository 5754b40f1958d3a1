"""The vocabulary of the data plane: tensors with their shapes, and the values that travel between steps.

Images are float32 in [0, 1] inside the window that the dataset declares; `*space` is `h w` or `d h w`, so 2D and 3D
are one code path. Rows of one value are aligned: row i of every field speaks of the same case (or line).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from cfbench.specs import Task

Images = Float[Tensor, "b c *space"]
Maps = Float[Tensor, "b 1 *space"]
Masks = Bool[Tensor, "b 1 *space"]
Values = Float[Tensor, " b"]
Latents = Float[Tensor, "b d"]


@dataclass(frozen=True)
class Truth:
    """The exact counterfactual of each line under its target, known for phantoms only."""

    x: Images
    #: Pixels that differ from the factual image because of the target alone.
    mask: Masks
    #: The planted measurement of the counterfactual (vertebra: height ratio), one per line.
    measured: Values


@dataclass(frozen=True)
class Batch:
    """Some cases of a dataset. A label that is missing is NaN."""

    ids: tuple[str, ...]
    patients: tuple[str, ...]
    x: Images | None
    labels: Mapping[str, Values]
    masks: Mapping[str, Masks] = field(default_factory=dict)
    text: tuple[str, ...] | None = None
    #: Only for components that declare `needs={"truth"}`, and only inside `explain`.
    truth: Truth | None = None

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.ids)


@dataclass(frozen=True)
class Code:
    """A latent code: `z` carries the semantics; `rest` what decoding also needs (x_T, noise maps), or nothing."""

    z: Latents
    rest: Mapping[str, Float[Tensor, "b ..."]] = field(default_factory=dict)


@dataclass(frozen=True)
class Targets:
    """What is asked of each line: the other class (`flip`) or a grade. `value` is the grade asked for in both."""

    kind: str
    value: Values


@dataclass(frozen=True)
class Prediction:
    """A method's own opinion of images (y_hat): a score that grows with the positive class, and a continuous grade."""

    score: Values | None = None
    grade: Values | None = None


@dataclass(frozen=True)
class Explanation:
    """What a method answers, line by line. `status` is "ok", or why this line has no answer."""

    x_cf: Images | None
    status: tuple[str, ...]
    heat: Maps | None = None
    predicted_cf: Prediction = field(default_factory=Prediction)


@dataclass(frozen=True)
class Judged:
    """A judge's outputs on some images: class probabilities over the task's grades, and its penultimate features."""

    proba: Float[Tensor, "b k"]
    features: Float[Tensor, "b f"]


@dataclass(frozen=True)
class View:
    """What a metric reads: n aligned lines. Columns that the view does not have are None."""

    name: str
    task: Task | None
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    #: "ok", or why this line has no answer; the host gives failed lines the metric's worst value.
    status: tuple[str, ...]
    #: The factual image.
    x: Images | None = None
    #: The image under test: reconstruction, counterfactual or sample.
    x_out: Images | None = None
    #: The task's grade of the factual case; NaN where unknown.
    grade: Values | None = None
    #: The grade asked for.
    target: Values | None = None
    predicted: Prediction = field(default_factory=Prediction)
    predicted_out: Prediction = field(default_factory=Prediction)
    #: Exact counterfactuals of the lines.
    truth: Truth | None = None
    #: Judge name to its outputs on x and on x_out.
    judged: Mapping[str, Judged] = field(default_factory=dict)
    judged_out: Mapping[str, Judged] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.ids)


@dataclass(frozen=True)
class Reference:
    """What a set metric keeps of the real images: tensors whose first dimension is the case."""

    tensors: Mapping[str, Tensor]
