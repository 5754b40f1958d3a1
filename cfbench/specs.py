"""What plugins offer, as plain data: names, parameters, needs and provides.

A spec names its implementation as a string (`"package.module:Name"`) that is imported only when a step runs, so that
listing plugins and planning a suite never import torch. A spec's `params` is a frozen dataclass: every field typed,
defaulted, and documented by `param(default, "help")`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Direction = Literal["higher", "lower", "none"]
Interval = Literal["bootstrap", "jackknife", "none"]
ViewName = Literal[
    "probe", "reconstruction", "reconstruction-random", "sample", "counterfactual", "sweep", "walk", "cycle", "map"
]
#: What a metric is for, which decides what is expected of it (`cfbench doctor metrics`).
#: `faithfulness` is towards the classifier that is explained, whose belief need not be the truth.
Role = Literal["prediction", "validity", "realism", "proximity", "localisation", "faithfulness", "other"]


def param(default: Any, help: str) -> Any:  # noqa: A002 - reads as documentation; any type may be a default
    """Declare a documented field of a params dataclass."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class NoParams:
    """Parameters of a component that has none."""


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file that somebody else publishes and that a component needs."""

    #: File name; unique below its place.
    name: str
    url: str
    #: `"md5:<hex>"` or `"sha256:<hex>"`; the hex may be the published prefix of the digest (8 or more characters).
    checksum: str
    #: Bytes, as far as known: shown before a download.
    size: int | None = None
    #: `"data"`: below the cfbench cache; `"torch"`: torch hub's checkpoint folder (`$TORCH_HOME/hub/checkpoints`).
    place: Literal["data", "torch"] = "data"
    #: A folder that the user named instead: nothing is downloaded into it.
    root: Path | None = None
    licence: str = ""


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What can be known of a dataset, with given parameters, without reading its images."""

    #: Channels of an image: 1 (grey) or 3 (RGB).
    channels: int
    #: `(height, width)` or `(depth, height, width)` in pixels.
    space: tuple[int, ...]
    #: Label name to its ordered values.
    labels: Mapping[str, tuple[float, ...]]
    #: Changes whenever the data would: version and params of a phantom, checksums of files.
    fingerprint: str
    #: Why its files cannot be read on this machine, or nothing: suites still plan, and its numbers fail with this.
    missing: str = ""
    #: Whether there are images at all (a dataset of published latents has none).
    images: bool = True
    #: Numbers in the latent codes that the dataset itself provides (published latents); 0 = it provides none.
    codes: int = 0
    #: Names of the masks that its cases may have.
    masks: tuple[str, ...] = ()
    #: Labels that it can measure on any image of its kind (see `MeasuringDataset`).
    measures: tuple[str, ...] = ()
    #: Label to its values to the words for them ("large opacity"), for generators that are told what to draw. Cases may
    #: carry texts of their own beside these (`Batch.text`).
    prompts: Mapping[str, Mapping[float, str]] = field(default_factory=dict)
    #: Whether exact counterfactuals are known (phantoms).
    truth: bool = False
    #: Whether patients are known. If not, every image counts as its own patient and the table says so.
    patients: bool = True
    #: Whether its images may be shown in a published gallery.
    redistributable: bool = True
    licence: str = ""
    assets: tuple[Asset, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Task:
    """One question asked of a dataset's label, as the suite states it.

    `positive` are the label values that count as positive; `exclude` those that take no part in fits and flips
    (grade 1 of the vertebra papers); `grades` the ordered scale.
    """

    name: str
    label: str
    kind: Literal["binary", "ordinal"]
    grades: tuple[float, ...]
    positive: tuple[float, ...]
    exclude: tuple[float, ...] = ()
    #: The suite's own words for each grade, empty where the dataset's hold (`prompt`); or nothing at all.
    prompts: tuple[str, ...] = ()

    def prompt(self, grade: float, data: DatasetInfo) -> str:
        """Return the words for a grade: the suite's, else the dataset's, else nothing."""
        own = dict(zip(self.grades, self.prompts, strict=True)).get(grade, "") if self.prompts else ""
        return own or data.prompts.get(self.label, {}).get(grade, "")

    def flip_target(self, grade: float) -> float:
        """Return the nearest grade of the other class that takes part in fits (the minimal flip)."""
        wanted = [g for g in self.grades if (g in self.positive) != (grade in self.positive) and g not in self.exclude]
        return min(wanted, key=lambda g: (abs(g - grade), g))


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What every offer has."""

    name: str
    #: `"package.module:Name"`, imported when a step runs.
    factory: str
    summary: str
    params: type = NoParams
    #: Preset name to the parameter values that it sets; without a preset the params' own defaults hold.
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Bumped by hand when results change; part of every cache key.
    version: int = 1
    citation: str = ""
    #: Weights and other files that must be there before it runs.
    assets: tuple[Asset, ...] = ()
    #: Numbers of spatial dimensions it works on.
    dims: tuple[int, ...] = (2, 3)
    #: CPU threads that its steps use. Small networks gain nothing from a second one: another job does.
    threads: int = 1
    #: Whether it is trained by gradient descent, or runs such a network many times; guides estimates of the time left.
    heavy: bool = False
    #: Packages beyond the base install that it imports; without them it is skipped, and `install` is what to type.
    libraries: tuple[str, ...] = ()
    install: str = ""
    #: Modules that its steps use and that are slow to import: an executor may load them once for all workers.
    loads: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """Factory: `(params) -> cfbench.protocols.Dataset`."""

    #: `(params) -> DatasetInfo`, torch-free; raises DataError for impossible parameters.
    describe: Callable[[Any], DatasetInfo]
    #: Whether its files are read once, by a step of its own, into a folder of the store that all other steps read
    #: (see `cfbench.protocols.PreparingDataset`).
    prepares: bool = False


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec(Spec):
    """Factory: `(params, data: DatasetInfo) -> cfbench.protocols.Generator`."""

    #: `"latent"` (encode, invert, decode), `"sampling"` (sample), `"editing"` (edit).
    provides: frozenset[Literal["latent", "sampling", "editing"]]


@dataclass(frozen=True, kw_only=True)
class AttributionSpec(Spec):
    """Factory: `(params, data: DatasetInfo, task: Task) -> cfbench.protocols.Attribution`."""

    #: What it needs of its generator (`latent`, `sampling`, `editing`), of the dataset (`images`, `truth`), or of the
    #: suite (`explained`: the classifier that is explained, `gradients`: that classifier, differentiable).
    needs: frozenset[Literal["latent", "sampling", "editing", "images", "truth", "explained", "gradients"]] = (
        frozenset()
    )
    #: `"score"` (of the positive class, for x), `"grade"` (continuous, for x), `"counterfactual"`, `"heat"`.
    provides: frozenset[Literal["score", "grade", "counterfactual", "heat"]]
    #: Kinds of target it can be asked for (see `cfbench.types.Targets`).
    targets: frozenset[Literal["flip", "grade", "offset"]] = frozenset({"flip", "grade"})
    #: Whether it learns from labelled cases first.
    fits: bool = True
    #: A trivial answer with known properties: shown in every table, never ranked, and what metrics are tested with.
    sentinel: bool = False

    @property
    def needs_generator(self) -> bool:
        """Whether it is crossed with the generators; otherwise it is planned once."""
        return bool(self.needs & {"latent", "sampling", "editing"})


@dataclass(frozen=True, kw_only=True)
class JudgeSpec(Spec):
    """Factory: `(params, data: DatasetInfo, task: Task) -> cfbench.protocols.Classifier`.

    A suite uses it as a judge, or as the classifier that is explained.
    """

    #: Whether it lets gradients through (see `DifferentiableClassifier`).
    differentiable: bool = False
    #: A classifier that knows nothing on purpose: it is measured beside the judges and never counts among them.
    control: bool = False


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Spec):
    """Factory: `(params) -> cfbench.protocols.CaseMetric | cfbench.protocols.SetMetric`."""

    #: `"case"`: one number per line, averaged by the host; `"set"`: one number per set of lines.
    kind: Literal["case", "set"]
    #: The views it is read on; a suite's cell gets it on each that the cell has.
    views: tuple[ViewName, ...]
    direction: Direction
    unit: str = ""
    #: Smallest and largest possible value; None = unbounded.
    range: tuple[float | None, float | None] = (None, None)
    #: Fewest lines for which the number means anything; fewer gives n/a.
    minimum: int = 1
    #: What a failed line counts as (case metrics); None: the metric itself scores it, by `View.status`.
    worst: float | None = None
    #: How its interval is made; both resample patients.
    interval: Interval = "bootstrap"
    role: Role = "other"
    #: Columns of the view that must be there: `truth` (phantoms), `judge` (the suite has judges), `control` (one of
    #: them with random weights), `explained` (the suite names the classifier that is explained), `score` and `grade`
    #: (the method gives them), `mask` (the dataset has masks), `measure` (the dataset can measure the task's label).
    #: `rebuilt` asks for the generator's reconstruction, in the cells whose generator makes one; `classify` for the
    #: classifier that is explained itself, to be asked about images that the metric makes; `perturbed` for the answers
    #: to the same lines when the factual images get Gaussian noise, whose standard deviation its parameter `sigma` is.
    needs: frozenset[
        Literal[
            "truth",
            "judge",
            "control",
            "explained",
            "classify",
            "score",
            "grade",
            "mask",
            "measure",
            "rebuilt",
            "perturbed",
        ]
    ] = frozenset()
    #: Whether it compares with a set of real images (then `reference` is called once per dataset).
    reference: bool = False
    #: Whether the host weights the real images of counterfactuals to the grades that were asked for, so that a perfect
    #: answer has their distribution; for metrics that take weights of any size.
    matched: bool = False
    #: Smallest image side in pixels; None = any.
    smallest_side: int | None = None
    #: What is to be typed instead when images are smaller than `smallest_side`.
    small_hint: str = ""


@dataclass(frozen=True, kw_only=True)
class FigureSpec(Spec):
    """Factory: `(params) -> cfbench.protocols.Figure`."""

    #: The views it can draw; a suite's cell gets it on each that the cell has.
    views: tuple[ViewName, ...]
    #: Columns of the view that must be there (as for metrics), or `latent`: the cell's generator has codes.
    needs: frozenset[Literal["score", "grade", "latent"]] = frozenset()
    #: Whether it shows images of the dataset, which may not be published then.
    shows_images: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of testing a metric: why its numbers are not ranked, or nothing if it may be trusted in its role."""

    metric: str
    #: The version of the metric that was tested; other versions are untested.
    version: int
    barred: str = ""


@dataclass(frozen=True, kw_only=True)
class ExecutorSpec(Spec):
    """Factory: `(params) -> cfbench.execute.Executor`-like object (see its protocol)."""


@dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """A verb of the command line beyond the core's. `factory` names a `click.Command`, imported when it is typed."""

    name: str
    factory: str
    summary: str
