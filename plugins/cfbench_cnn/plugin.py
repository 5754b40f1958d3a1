"""Offer the small convolutional judge."""

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


@hookimpl
def cfbench_judges() -> Iterable[JudgeSpec]:
    """Offer `cnn`."""
    yield JudgeSpec(
        name="cnn",
        factory="cfbench_cnn.judge:CNN",
        summary="small CNN on 2D images or volumes, calibrated by temperature; 32 features",
        params=CNNParams,
        citation="Temperature scaling: Guo et al., On Calibration of Modern Neural Networks, ICML 2017",
    )
