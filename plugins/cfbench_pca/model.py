"""Principal components of images (Turk and Pentland 1991), exact and deterministic."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from scipy.linalg import eigh
from torch import Tensor

from cfbench.errors import NotFiniteError, UndefinedError
from cfbench.protocols import Cases, Context
from cfbench.specs import DatasetInfo
from cfbench.types import Code, Images, Latents
from cfbench_pca.plugin import PCAParams

# Of the largest eigenvalue: directions with less variance are rounding noise.
NOISE = 1e-10


class PCA:
    """x ≈ mean + z·V with orthonormal rows V; z is not scaled, so its dimensions fall in variance."""

    def __init__(self, params: PCAParams, data: DatasetInfo) -> None:
        self.params, self.data = params, data
        self.state: dict[str, Tensor] = {}

    def fit(self, train: Cases, valid: Cases, context: Context) -> None:  # noqa: ARG002 - closed form: nothing to select
        """Find the eigen-images of the training images. Raises UndefinedError if they span fewer than `z_dim`."""
        x = _pixels(train, context)
        mean = x.mean(dim=0)
        variance, V = eigenimages(x - mean, self.params.z_dim)
        state = {"mean": mean, "V": V, "sigma": variance.sqrt()}
        self.state = {name: values.float().contiguous().to(context.device) for name, values in state.items()}

    def save(self, folder: Path) -> None:
        """Write `pca.safetensors`: mean [p], V [d, p] and the codes' standard deviations sigma [d]."""
        save_file(self.state, folder / "pca.safetensors")

    def load(self, folder: Path, context: Context) -> None:
        """Restore what `save` wrote."""
        self.state = load_file(folder / "pca.safetensors", device=context.device)

    def encode(self, x: Images, context: Context) -> Latents:
        """Return z = (x - mean)·Vᵀ."""
        return torch.mm(x.to(context.device).flatten(1) - self.state["mean"], self.state["V"].T)

    def invert(self, x: Images, z: Latents, context: Context) -> Mapping[str, Tensor]:  # noqa: ARG002 - protocol
        """Return nothing: a reconstruction shows what z holds, and no more."""
        return {}

    def draw(self, ids: Sequence[str], context: Context) -> Mapping[str, Tensor]:  # noqa: ARG002 - protocol
        """Return nothing: decoding needs z alone."""
        return {}

    def decode(self, code: Code, context: Context) -> Images:
        """Return mean + z·V, clamped to [0, 1]."""
        x = self.state["mean"] + code.z.to(context.device, torch.float32) @ self.state["V"]
        return x.clamp(0, 1).reshape(-1, self.data.channels, *self.data.space)

    def sample(self, n: int, context: Context) -> Images:
        """Decode z drawn from the Gaussian of the training codes: mean 0, and uncorrelated by construction."""
        generator = torch.Generator().manual_seed(context.seed)
        z = torch.randn(n, self.params.z_dim, generator=generator).to(context.device)
        return self.decode(Code(z * self.state["sigma"]), context)


def eigenimages(x_0: Float[Tensor, "n p"], k: int) -> tuple[Float[Tensor, " k"], Float[Tensor, "k p"]]:
    """Return the k largest variances (falling) and their orthonormal directions, of centred float64 rows.

    The smaller of x·xᵀ and xᵀ·x is diagonalised. Signs: each direction's largest entry is positive.
    Raises UndefinedError if the rows do not span k dimensions.
    """
    n, p = x_0.shape
    if k > min(n - 1, p):
        raise UndefinedError(
            f"pca: z_dim {k} needs {k + 1} training cases and {k} pixels; there are {n} and {p}: lower z_dim"
        )
    gram = x_0 @ x_0.T if n <= p else x_0.T @ x_0
    values, vectors = eigh(gram.numpy(), subset_by_index=[len(gram) - k, len(gram) - 1])
    values, vectors = torch.from_numpy(values).flip(0), torch.from_numpy(vectors).flip(1)
    rank = int((values > NOISE * values[0]).sum())
    if rank < k:
        raise UndefinedError(f"pca: the {n} training images span {rank} dimensions only: z_dim {k} is too large")
    V = (x_0.T @ vectors / values.sqrt()).T if n <= p else vectors.T
    signs = V.gather(1, V.abs().argmax(dim=1, keepdim=True)).sign()
    return values / (n - 1), V * signs


def _pixels(cases: Cases, context: Context, chunk: int = 256) -> Float[Tensor, "n p"]:
    """Read all images as rows of float64."""
    rows = []
    for start in range(0, len(cases), chunk):
        context.progress(start, len(cases), "reading")
        x = cases.batch(range(start, min(start + chunk, len(cases)))).x
        if x is None:
            raise UndefinedError("pca learns from images; this dataset has none")
        rows.append(x.flatten(1).double())
    x = torch.cat(rows)
    if not x.isfinite().all():
        raise NotFiniteError("pca: training images hold NaN or infinity; check the dataset")
    return x
