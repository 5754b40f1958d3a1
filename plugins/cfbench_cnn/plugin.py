"""Offer the small convolutional judges, and the control that knows nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

from cfbench.hookspecs import hookimpl
from cfbench.specs import JudgeSpec, param


@dataclass(frozen=True)
class CNNParams:
    """How the judge is trained; the defaults suit some 500 images of 48 x 48 pixels."""

    steps: int = param(600, "training steps")
    batch: int = param(32, "images per step")
    lr: float = param(5e-3, "peak learning rate (AdamW, one cycle, weight decay 1e-2)")
    width: int = param(16, "channels of the first block; each of the three further blocks may have twice as many")


@dataclass(frozen=True)
class ResNetParams:
    """How the residual judge is trained; the defaults suit some 500 images of 48 x 48 pixels."""

    steps: int = param(600, "training steps")
    batch: int = param(32, "images per step")
    lr: float = param(5e-3, "peak learning rate (AdamW, one cycle, weight decay 1e-2)")
    width: int = param(16, "channels of the first block; the last two blocks have four times as many")


@dataclass(frozen=True)
class ControlParams:
    """The network that is drawn at random."""

    width: int = param(16, "channels of the first block, as for the judge `cnn`")


@hookimpl
def cfbench_judges() -> Iterable[JudgeSpec]:
    """Offer `cnn`, `resnet` and `random-control`."""
    yield JudgeSpec(
        name="cnn",
        factory="cfbench_cnn.judge:cnn",
        heavy=True,
        loads=("pytorch_lightning",),
        summary="small CNN on 2D images or volumes, calibrated by temperature; 32 features",
        params=CNNParams,
        citation="Temperature scaling: Guo et al., On Calibration of Modern Neural Networks, ICML 2017",
        differentiable=True,
    )
    yield JudgeSpec(
        name="resnet",
        factory="cfbench_cnn.judge:resnet",
        heavy=True,
        loads=("pytorch_lightning",),
        summary="small residual network on 2D images or volumes, calibrated by temperature; 32 features",
        params=ResNetParams,
        citation="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
        differentiable=True,
    )
    yield JudgeSpec(
        name="random-control",
        factory="cfbench_cnn.control:random_control",
        summary="the cnn with random weights, never trained: what a judge without knowledge says",
        params=ControlParams,
        differentiable=True,
        control=True,
    )
