"""What the host asks of a component. Nothing has to be inherited: any object with these methods will do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from cfbench.types import (
    Batch,
    Code,
    Edit,
    Explanation,
    Images,
    Judged,
    Latents,
    Prediction,
    Reference,
    Targets,
    Truth,
    Values,
    View,
)


def _silent(_done: int, _total: int, _what: str) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True)
class Context:
    """Where and how a component runs."""

    #: Seed of everything random in this step; derive generators from it, never touch global random state.
    seed: int
    #: Scratch folder of this step. It survives a kill: put checkpoints here and resume from them.
    folder: Path
    device: str = "cpu"
    #: `progress(done, total, what)`: call it often, it is throttled.
    progress: Callable[[int, int, str], None] = _silent


@runtime_checkable
class Cases(Protocol):
    """Cases of one split in a fixed order, with random access to their images."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The cases' unique ids."""
        ...

    @property
    def patients(self) -> tuple[str, ...]:
        """The patient of each case."""
        ...

    @property
    def labels(self) -> Mapping[str, Values]:
        """Every label of each case; NaN where it is missing."""
        ...

    def __len__(self) -> int:
        """Return the number of cases."""
        ...

    def batch(self, index: Sequence[int]) -> Batch:
        """Return the cases at these positions, images included (float32 in [0, 1])."""
        ...


@runtime_checkable
class Dataset(Protocol):
    """Patients never cross splits."""

    def cases(self, split: str) -> Cases:
        """Return the cases of `"train"`, `"valid"` or `"test"`."""
        ...


@runtime_checkable
class PreparingDataset(Dataset, Protocol):
    """A dataset that reads its files once (`DatasetSpec.prepares`); the host keeps what it wrote."""

    def prepare(self, folder: Path, context: Context) -> None:
        """Read all files and write what `load` needs into an empty folder.

        Keep what is done so far in `context.folder`, and go on from there. Files are not copied as they are.
        """
        ...

    def load(self, folder: Path) -> None:
        """Take the cases from such a folder; called once, before `cases`."""
        ...


@runtime_checkable
class ReportingDataset(Protocol):
    """A dataset that has more to say of itself than its counts, for `cfbench data check`."""

    def report(self) -> Sequence[str]:
        """Return lines: cases left out and why, digests, published counts beside its own."""
        ...


@runtime_checkable
class TruthDataset(Protocol):
    """A dataset whose exact counterfactuals are known."""

    def counterfactual(self, ids: Sequence[str], label: str, values: Values) -> Truth:
        """Return, for each case, the image with `label` set to the value and everything else unchanged."""
        ...


@runtime_checkable
class MeasuringDataset(Protocol):
    """A dataset that can measure a label on any image of its kind, by image analysis."""

    def measure(self, x: Images, label: str) -> Values:
        """Return the measurement of each image, in the unit of `Truth.measured`; NaN where it cannot be taken."""
        ...


@dataclass(frozen=True)
class Labelled:
    """Cases to learn from. Cases without the label, or with an excluded grade, are not among them."""

    cases: Cases
    #: The task's grade of each case.
    grade: Values
    #: Latent codes of the same cases, where the component works on codes.
    z: Latents | None = None


@runtime_checkable
class Generator(Protocol):
    """Learns images. Weights are saved as safetensors and JSON, never as a pickle."""

    def fit(self, train: Cases, valid: Cases, context: Context) -> None:
        """Learn without labels. Checkpoint into `context.folder` and resume from there."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` needs into an empty folder."""
        ...

    def load(self, folder: Path, context: Context) -> None:
        """Restore a fitted generator onto `context.device`."""
        ...


@runtime_checkable
class LatentGenerator(Generator, Protocol):
    """A generator with a latent space: `decode(Code(encode(x), invert(x, z)))` gives x back, nearly."""

    def encode(self, x: Images, context: Context) -> Latents:
        """Return the semantic code of each image."""
        ...

    def invert(self, x: Images, z: Latents, context: Context) -> Mapping[str, Tensor]:
        """Return what decoding needs beside z to give back x (x_T of a diffusion model); may be empty."""
        ...

    def draw(self, ids: Sequence[str], context: Context) -> Mapping[str, Tensor]:
        """Draw the rest at random instead, each case's from `context.seed` and its id; may be empty."""
        ...

    def decode(self, code: Code, context: Context) -> Images:
        """Return the images of codes, in [0, 1]."""
        ...


@runtime_checkable
class SamplingGenerator(Generator, Protocol):
    """A generator that draws new images."""

    def sample(self, n: int, context: Context) -> Images:
        """Draw n images, in [0, 1]."""
        ...


@runtime_checkable
class EditingGenerator(Generator, Protocol):
    """A generator that edits images under words."""

    def edit(self, x: Images, ids: Sequence[str], edit: Edit, context: Context) -> Images:
        """Return the edited images, in [0, 1]; the noise of each depends on `context.seed` and its id alone."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """A judge, or the classifier that is explained."""

    def fit(self, train: Labelled, valid: Labelled, context: Context) -> None:
        """Learn the task's grades. Checkpoint into `context.folder`."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` needs into an empty folder."""
        ...

    def load(self, folder: Path, context: Context) -> None:
        """Restore a fitted classifier."""
        ...

    def judge(self, x: Images, context: Context) -> Judged:
        """Return probabilities over the task's grades (in their order), penultimate features and the grade."""
        ...


@runtime_checkable
class DifferentiableClassifier(Classifier, Protocol):
    """A classifier that lets gradients through: for saliency maps and adversarial images."""

    @property
    def network(self) -> nn.Module:
        """The network in evaluation mode: Images to logits "b k" whose softmax is `judge`'s probabilities."""
        ...

    @property
    def last_maps(self) -> nn.Module:
        """The module of `network` whose output is the last "b c *space" with a spatial extent (for Grad-CAM)."""
        ...


@dataclass(frozen=True)
class Models:
    """What an attribution works with, as far as its spec needs it."""

    generator: Generator | None = None
    #: The classifier that is explained (`needs={"explained"}`).
    classifier: Classifier | None = None


@runtime_checkable
class Attribution(Protocol):
    """Explains: predicts with its own eyes, and answers targets with counterfactuals or heat maps."""

    def fit(self, train: Labelled, context: Context) -> None:
        """Learn the decision that it explains or moves along."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `load` needs into an empty folder."""
        ...

    def load(self, folder: Path, context: Context) -> None:
        """Restore a fitted attribution."""
        ...

    def predict(self, models: Models, batch: Batch, code: Code | None, context: Context) -> Prediction:
        """Return its own score and grade of each case."""
        ...

    def explain(
        self, models: Models, batch: Batch, code: Code | None, targets: Targets, context: Context
    ) -> Explanation:
        """Answer line by line; `batch`, `code` and `targets` are aligned."""
        ...


@runtime_checkable
class CaseMetric(Protocol):
    """One number per line."""

    def score(self, view: View, context: Context) -> Values:
        """Return one value per line; NaN where it does not exist."""
        ...


@runtime_checkable
class SetMetric(Protocol):
    """One number per set of lines."""

    def reference(self, view: View, context: Context) -> Reference:
        """Return what is kept of the real images in `view.x`; called once per dataset if the spec says `reference`."""
        ...

    def compute(
        self,
        view: View,
        reference: Reference | None,
        weights: Float[Tensor, "r n"],
        reference_weights: Float[Tensor, "r m"],
        context: Context,
    ) -> Values:
        """Return the number under each row of non-negative line weights (row 0 is all ones); float64."""
        ...


@runtime_checkable
class Figure(Protocol):
    """One picture of a view."""

    def draw(self, view: View, path: Path, context: Context) -> None:
        """Write a PNG. Raises UndefinedError, with the reason, if the view has nothing to draw."""
        ...
