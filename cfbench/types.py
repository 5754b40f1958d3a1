"""The vocabulary of the data plane: tensors with their shapes, and the values that travel between steps.

Images are float32 in [0, 1] inside the window that the dataset declares; `*space` is `h w` or `d h w`, so 2D and 3D
are one code path. Rows of one value are aligned: row i of every field speaks of the same case (or line).
"""

from collections.abc import Callable, Mapping
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
    #: Latent codes that the dataset itself provides (published latents), where it does.
    z: Latents | None = None
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
class Edit:
    """What is asked of a generator that edits: noise each image up to a point, and denoise it under other words.

    SDEdit (Meng et al., ICLR 2022) with classifier-free guidance (Ho and Salimans, 2021), as diffusers' img2img counts.
    """

    #: The words for each image, aligned with the images; empty words are the unconditional image.
    prompts: tuple[str, ...]
    #: How far back along the noise schedule, 0 to 1. 0 changes nothing but what the generator loses of every image (its
    #: autoencoder's reconstruction); 1 starts from pure noise, so that the image has no say.
    strength: float
    #: Weight of the words: unconditional + guidance * (conditional - unconditional); at or below 1, none is given.
    guidance: float
    #: Steps of the whole schedule; int(steps * strength) of them are made.
    steps: int
    #: How often the image is noised and denoised in turn.
    repeats: int = 1
    #: Pixels that stay as they are.
    keep: Masks | None = None


@dataclass(frozen=True)
class Targets:
    """What is asked of each line.

    `flip`: the other class, `value` is its nearest grade. `grade`: that grade, which may lie outside the task's scale
    (an extrapolation, marked as such by the host). `offset`: a step off the case's own place towards the positive side
    (negative: away from it), in standard deviations of what the method moves along, over its training cases.
    """

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
    """A classifier's outputs on some images: probabilities over the task's grades, features, continuous grade."""

    proba: Float[Tensor, "b k"]
    #: Penultimate features.
    features: Float[Tensor, "b f"]
    #: The expected grade under `proba`, or the output of a regression.
    grade: Values


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
    #: The image under test: reconstruction, counterfactual, the way back (`cycle`) or sample.
    x_out: Images | None = None
    #: What the generator makes of x when nothing is asked: the floor of every difference.
    rebuilt: Images | None = None
    #: The method's answers to the same lines about x with noise (see `MetricSpec.needs`); a line that has none of them
    #: says so in `status`.
    perturbed: Explanation | None = None
    #: The method's heat map of x, and the dataset's masks of it by name.
    heat: Maps | None = None
    masks: Mapping[str, Masks] = field(default_factory=dict)
    #: Latent codes of the factual cases.
    z: Latents | None = None
    #: Every label of the factual cases; NaN where unknown.
    labels: Mapping[str, Values] = field(default_factory=dict)
    #: The task's grade of the factual case; NaN where unknown.
    grade: Values | None = None
    #: The grade (view `walk`: the offset) asked for.
    target: Values | None = None
    #: Whether the grade asked for lies outside the task's scale. Only figures see such lines, metrics never do.
    extrapolated: Bool[Tensor, " b"] | None = None
    predicted: Prediction = field(default_factory=Prediction)
    predicted_out: Prediction = field(default_factory=Prediction)
    #: Exact counterfactuals of the lines.
    truth: Truth | None = None
    #: Judge name to its outputs on x and on x_out.
    judged: Mapping[str, Judged] = field(default_factory=dict)
    judged_out: Mapping[str, Judged] = field(default_factory=dict)
    #: The same of the classifier that is explained.
    explained: Judged | None = None
    explained_out: Judged | None = None
    #: Judges with random weights, by name, and their outputs: what no knowledge gives.
    control: Mapping[str, Judged] = field(default_factory=dict)
    control_out: Mapping[str, Judged] = field(default_factory=dict)
    #: Asks the classifier that is explained about any images, for metrics that make some themselves.
    classify: Callable[[Images], Judged] | None = None
    #: The dataset's own measurement of the task's label, taken from x_out by image analysis.
    measured_out: Values | None = None

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.ids)


@dataclass(frozen=True)
class Reference:
    """What a set metric keeps of the real images: tensors whose first dimension is the case."""

    tensors: Mapping[str, Tensor]
