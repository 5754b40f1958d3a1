"""Settings of metrics that have any. Light: read whenever plugins are listed."""

from dataclasses import dataclass
from typing import Literal

from cfbench.specs import param


def _require(*, true: bool, sentence: str) -> None:
    if not true:
        raise ValueError(sentence)


@dataclass(frozen=True)
class Confidence:
    """Which predictions count as sure."""

    tau: float = param(0.8, "probability above which the explained classifier is sure, and change that is large enough")

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        _require(true=0 < self.tau < 1, sentence=f"tau must lie between 0 and 1, got {self.tau:g}")


@dataclass(frozen=True)
class Course:
    """How finely one image is turned into another."""

    steps: int = param(50, "images on the way, each with 1 / steps of the pixels more of the second image")

    def __post_init__(self) -> None:
        """Refuse a way without steps."""
        _require(true=self.steps >= 1, sentence=f"steps must be 1 or more, got {self.steps}")


@dataclass(frozen=True)
class BlurredCourse(Course):
    """The same from an image to a blurred one, or back."""

    sigma: float = param(0.1, "standard deviation of the blur, in shortest sides of the image")

    def __post_init__(self) -> None:
        """Refuse what does not blur."""
        super().__post_init__()
        _require(true=self.sigma > 0, sentence=f"sigma must be above 0, got {self.sigma:g}")


@dataclass(frozen=True)
class Threshold:
    """From when on a pixel counts as changed."""

    tau: float = param(0.03, "change of a pixel, of the image's full range 1, above which it counts")

    def __post_init__(self) -> None:
        """Refuse thresholds that no pixel, or none but noise, can pass."""
        _require(true=0 <= self.tau < 1, sentence=f"tau must be at least 0 and below 1, got {self.tau:g}")


@dataclass(frozen=True)
class Noise:
    """How much the factual images are disturbed."""

    sigma: float = param(0.01, "standard deviation of the noise in every pixel, of the image's full range 1")

    def __post_init__(self) -> None:
        """Refuse what is no noise, or would leave little of the image."""
        _require(true=0 < self.sigma <= 0.5, sentence=f"sigma must be above 0 and at most .5, got {self.sigma:g}")


@dataclass(frozen=True)
class Scale:
    """How far a measurement can be off."""

    scale: float = param(
        1.0,
        "largest error that counts, in the measurement's unit (1: all of a ratio); also what an image counts as that "
        "could not be made or measured",
    )

    def __post_init__(self) -> None:
        """Refuse a scale without length."""
        _require(true=self.scale > 0, sentence=f"scale must be above 0, got {self.scale:g}")


@dataclass(frozen=True)
class Lesion:
    """Where the change belongs."""

    masks: tuple[str, ...] = param(
        (),
        "the dataset's masks that mark the finding, joined; none: the exact change where it is known (phantoms), else "
        "the dataset's only mask",
    )


@dataclass(frozen=True)
class Outside(Lesion):
    """Where the change belongs, and what counts as outside."""

    body: str = param("", "the dataset's mask of all that is looked at; none: the whole image")
    margin: int = param(2, "pixels around the finding that still belong to it (a square neighbourhood)")

    def __post_init__(self) -> None:
        """Refuse a margin that would shrink the finding."""
        _require(true=self.margin >= 0, sentence=f"margin must be 0 or more pixels, got {self.margin}")


@dataclass(frozen=True)
class FloorSize:
    """The number of images that the floor is for."""

    at: Literal["all", "half"] = param(
        "all",
        "'all': extrapolated to as many images as the distance has, from halves and quarters of them; 'half': of two "
        "disjoint halves, as `fd-split` has",
    )


@dataclass(frozen=True)
class Subsets:
    """How small the subsets may be that a distance is extrapolated from."""

    per_feature: float = param(
        1.0,
        "fewest images per feature in a subset; below 1 much of the bias stays (at .25, the least that is accepted, "
        "more than half of it in simulations)",
    )

    def __post_init__(self) -> None:
        """Refuse subsets of which nothing can be extrapolated."""
        _require(true=self.per_feature >= 0.25, sentence=f"per_feature must be .25 or more, got {self.per_feature:g}")
