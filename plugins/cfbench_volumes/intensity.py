"""From what a scanner measured to [0, 1]."""

import numpy as np
from jaxtyping import Float32, Shaped, UInt16

from cfbench.errors import DataError


def windowed(values: Float32[np.ndarray, "..."], low: float, high: float) -> Float32[np.ndarray, "..."]:
    """Return values as shares of a window, those outside it cut off. Raises DataError for an empty window."""
    if not low < high:
        raise DataError(f"the window runs from {low:g} to {high:g}: expected a lower and a higher value")
    return np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)


def percentiles(voxels: Shaped[np.ndarray, "..."], low: float, high: float, where: str) -> tuple[float, float]:
    """Return two percentiles of all voxels, to be used as a window.

    Raises:
        DataError: they are equal: the volume is empty, or of one value.
    """
    least, most = (float(v) for v in np.percentile(voxels, (low, high)))
    if not least < most:
        raise DataError(f"{where}: percentiles {low:g} and {high:g} of its voxels are both {least:g}: it is empty")
    return least, most


def stored(image: Float32[np.ndarray, "..."]) -> UInt16[np.ndarray, "..."]:
    """Return an image in [0, 1] as 16-bit integers (65535 is 1): more than any scanner's 12 bits."""
    return np.rint(np.clip(image, 0, 1) * np.float32(65535)).astype(np.uint16)
