"""Offer DenseNet121, the end-to-end classifier of the diffusion-autoencoder papers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cfbench.hookspecs import hookimpl
from cfbench.specs import JudgeSpec, param


@dataclass(frozen=True)
class DenseNetParams:
    """The network, what it learns, and how it is trained."""

    growth: int = param(32, "channels that each dense layer adds; the first convolution has twice as many")
    blocks: tuple[int, ...] = param((6, 12, 24, 16), "dense layers per block; the image is halved between blocks")
    stem: Literal["auto", "published", "half", "full"] = param(
        "auto",
        "first layers: 'published' (7x7 convolution of stride 2, max pooling: a quarter of the side), 'half' (without "
        "the pooling), 'full' (3x3 convolution of stride 1, for small images), 'auto': the first of these that leaves "
        "3 pixels a side or more to the last block (2 in volumes, which cost more)",
    )
    objective: Literal["classification", "ordinal", "regression"] = param(
        "classification",
        "'classification' (cross-entropy over grades), 'ordinal' (a binary cross-entropy per step of the scale; the "
        "one between negative and positive grades is the papers' detection) or 'regression' (mean absolute error of "
        "the grade, the papers' grading)",
    )
    epochs: int = param(60, "passes over the training images, at most")
    steps: int = param(0, "training steps, at most; 0: the epochs alone decide")
    batch: int = param(32, "images per step")
    lr: float = param(1e-3, "learning rate (AdamW; its peak in one cycle)")
    rate: Literal["one-cycle", "step"] = param(
        "one-cycle", "'one-cycle', or 'step': constant, a tenth after every 25 epochs"
    )
    weight_decay: float = param(1e-2, "of AdamW; 0 makes it Adam")
    clip: float = param(1.0, "largest norm of a gradient; 0: any")
    patience: int = param(15, "epochs without a better validation loss after which training ends; 0: it never does")
    class_weights: Literal["balanced", "none"] = param(
        "balanced", "'balanced': all classes count alike in the loss; 'none': all cases do"
    )
    augment: bool = param(True, "shift training images a little and change their contrast and brightness")


#: A small network for CPUs and small images.
QUICK = {"growth": 8, "blocks": (2, 4, 4), "epochs": 1000, "steps": 600, "lr": 5e-3, "patience": 0}
#: As trained in the public code, whose loader did not shuffle and whose last weights were kept; here neither is copied.
ATAD2024 = {
    "stem": "published",
    "objective": "ordinal",
    "epochs": 100,
    "lr": 1e-5,
    "rate": "step",
    "weight_decay": 0.0,
    "clip": 0.0,
    "patience": 10,
    "class_weights": "none",
    "augment": False,
}


@hookimpl
def cfbench_judges() -> Iterable[JudgeSpec]:
    """Offer `densenet121`."""
    yield JudgeSpec(
        name="densenet121",
        factory="cfbench_densenet.judge:densenet121",
        heavy=True,
        loads=("pytorch_lightning", "monai.networks.nets.densenet"),
        summary="DenseNet121 on 2D images or volumes: classification, ordinal or regression, calibrated",
        params=DenseNetParams,
        presets={"quick": QUICK, "atad2024": ATAD2024},
        citation="Huang et al., Densely Connected Convolutional Networks, CVPR 2017; baseline of Atad et al., 2024",
        differentiable=True,
    )
