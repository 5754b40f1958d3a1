"""Offer the attribution `sdedit`: edits under words, and their difference to the image."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cfbench.hookspecs import hookimpl
from cfbench.specs import AttributionSpec, DatasetInfo, Task, param


def _require(*, true: bool, sentence: str) -> None:
    if not true:
        raise ValueError(sentence)


@dataclass(frozen=True)
class SDEditParams:
    """How far an image is noised, under which words it is denoised, and what is shown of the difference."""

    strength: float = param(
        0.55,
        "share of the noise schedule that an image is sent back over, 0 to 1: 0 changes nothing but what the "
        "generator's autoencoder loses, 1 starts from pure noise (text-to-image: no image prior)",
    )
    guidance: float = param(
        4.0,
        "weight of the words, as diffusers counts: unconditional + guidance * (conditional - unconditional); at or "
        "below 1 there is no guidance (the conditional model alone)",
    )
    steps: int = param(75, "steps of the whole schedule; int(steps * strength) of them are made")
    repeats: int = param(1, "times that an image is noised and denoised in turn (K of SDEdit; 3 there)")
    text: bool = param(True, "whether there are words at all; without, every line is denoised as the empty prompt")
    prompt: str = param(
        "",
        "words for every line, whatever grade it asks for (an unseen disease, a place); none: the suite's or the "
        "dataset's words for the grade that a line asks for",
    )
    samples: int = param(1, "draws of the noise; the first is the counterfactual, all of them make the map")
    within: str = param("", "the dataset's mask inside which alone pixels may change; none: the whole image")
    draws: Literal["mean", "spread"] = param(
        "mean",
        "the map over the draws: their 'mean', or their 'spread' (standard deviation, at least two draws): where the "
        "method disagrees with itself",
    )
    part: Literal["absolute", "signed", "positive", "negative"] = param(
        "absolute",
        "what is shown of the map abnormal - normal: 'absolute' (changed either way), 'signed', 'positive' (what is "
        "brighter in the abnormal image) or 'negative' (what is darker there, as a positive number). Localisation "
        "metrics take a signed map's negative pixels for evidence against the finding",
    )
    organ: str = param("", "the dataset's mask outside which the map is 0; none: all of the image is shown")
    threshold: float = param(0.0, "grey values, of the image's full range 1, up to which a difference is taken for 0")
    residual: bool = param(
        False,
        "take the difference to what the generator makes of the image at strength 0, so that what its autoencoder "
        "loses of every image is not in the map",
    )

    def __post_init__(self) -> None:
        """Refuse what no edit can have."""
        _require(true=0 <= self.strength <= 1, sentence=f"strength must be 0 to 1, got {self.strength:g}")
        _require(true=self.guidance >= 0, sentence=f"guidance must be 0 or more, got {self.guidance:g}")
        _require(true=0 <= self.threshold < 1, sentence=f"threshold must be 0 to 1, got {self.threshold:g}")
        for name in ("steps", "repeats", "samples"):
            _require(true=getattr(self, name) >= 1, sentence=f"{name} must be at least 1, got {getattr(self, name)}")
        _require(
            true=self.draws == "mean" or self.samples > 1, sentence="draws 'spread' needs at least two samples, got 1"
        )
        _require(
            true=self.text or not self.prompt, sentence="a prompt was given, though text is off: leave one of them out"
        )

    def why_not(self, task: Task, grades: tuple[float, ...], data: DatasetInfo) -> str:
        """Return which words or masks this task, asked for these grades, and its dataset lack; or nothing."""
        mute = [grade for grade in grades if not self.words(task, grade, data)] if self.text else []
        if mute:
            return (
                f"has no words for grade {mute[0]:g} of {task.label}: give the task `prompts: {{{mute[0]:g}: ...}}`, "
                "or the attribution a `prompt`"
            )
        for field in ("within", "organ"):
            name = getattr(self, field)
            if name and name not in data.masks:
                return f"needs the mask {name!r} ({field}), which the dataset lacks (it has: {_listed(data.masks)})"
        return ""

    def words(self, task: Task, grade: float, data: DatasetInfo) -> str:
        """Return the words for a grade: this attribution's, else the suite's, else the dataset's, else nothing."""
        return self.prompt.strip() or task.prompt(grade, data)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


@hookimpl
def cfbench_attributions() -> Iterable[AttributionSpec]:
    """Offer `sdedit`."""
    yield AttributionSpec(
        name="sdedit",
        factory="cfbench_sdedit.attribution:SDEdit",
        summary="edit under the target's words from part of the way back to noise; the difference is the map",
        params=SDEditParams,
        presets={
            # Figure 2 of Siddiqui et al.; what they tabulate are the defaults.
            "figure": {"strength": 0.85, "guidance": 7.5, "part": "signed"},
            # Their ablations (Table 5). Guidance below 1 is none; "no image prior" was .99, which is not pure noise.
            "no-text": {"text": False, "strength": 0.4, "guidance": 0.01},
            "no-image-prior": {"strength": 1.0, "guidance": 8.5},
            "neither": {"text": False, "strength": 1.0, "guidance": 0.1},
            # Half the schedule, three times over, without words.
            "meng2022": {"text": False, "strength": 0.5, "guidance": 1.0, "steps": 1000, "repeats": 3},
        },
        citation="Siddiqui et al., Visual attribution by text-conditioned latent diffusion, Scientific Reports 2025; "
        "Meng et al., SDEdit, ICLR 2022",
        needs=frozenset({"editing"}),
        provides=frozenset({"counterfactual", "heat"}),
        targets=frozenset({"flip", "grade"}),
        fits=False,
    )
