"""Steps between images and codes: encode, invert, reconstruct, sample."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from cfbench.errors import NotFiniteError, PluginError
from cfbench.protocols import Cases, LatentGenerator, SamplingGenerator
from cfbench.steps.cases import batches
from cfbench.steps.work import BATCH, Work
from cfbench.types import Batch, Code


def encode(work: Work) -> None:
    """Encode every case of the part to z."""
    generator = _generator(work)
    cases = work.test if work.payload["part"] == "test" else work.guide("train")
    encoded = _map(work, cases, "encoding", lambda batch, _: {"z": generator.encode(_x(batch), work.context)})
    work.save_tensors(encoded)


def invert(work: Work) -> None:
    """Find what decoding needs beside z, for every test case."""
    generator, z = _generator(work), work.tensors("encode")["z"]

    def one(batch: Batch, index: list[int]) -> dict[str, Tensor]:
        return dict(generator.invert(_x(batch), z[index].to(work.context.device), work.context))

    work.save_tensors(_map(work, work.test, "inverting", one))


def reconstruct(work: Work) -> None:
    """Decode every test case's own code, with the inverted or a random rest."""
    generator, z = _generator(work), work.tensors("encode")["z"]
    rest = work.tensors("invert") if "invert" in work.inputs else None

    def one(batch: Batch, index: list[int]) -> dict[str, Tensor]:
        drawn = {k: v[index] for k, v in rest.items()} if rest is not None else generator.draw(batch.ids, work.context)
        return {"x_out": generator.decode(on_device(Code(z[index], drawn), work), work.context)}

    work.save_tensors(_map(work, work.test, "decoding", one))


def sample(work: Work) -> None:
    """Draw as many images as there are test cases."""
    generator: SamplingGenerator = work.build("generator", work.info)
    generator.load(work.folder("generator"), work.context)
    n = len(work.test)
    x = generator.sample(n, work.context)
    require_finite({"x_out": x}, "samples")
    work.save_tensors({"x_out": x})


def on_device(code: Code, work: Work) -> Code:
    """Move a code to where the step runs."""
    device = work.context.device
    return Code(code.z.to(device), {name: value.to(device) for name, value in code.rest.items()})


def require_rows(tensors: Mapping[str, Tensor], rows: int, what: str) -> None:
    """Raise PluginError unless every tensor has one row per case: a shorter answer would be laid on the wrong cases."""
    for name, tensor in tensors.items():
        if not tensor.ndim or len(tensor) != rows:
            raise PluginError(f"{what}: {name} has shape {tuple(tensor.shape)}; expected {rows} rows, one per case")


def require_finite(tensors: dict[str, Tensor], what: str) -> None:
    """Raise NotFiniteError if any value is NaN or infinite: such a result is never stored."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise NotFiniteError(f"{what}: {name} holds NaN or infinity")


def _generator(work: Work) -> LatentGenerator:
    generator: LatentGenerator = work.build("generator", work.info)
    generator.load(work.folder("generator"), work.context)
    return generator


def _x(batch: Batch) -> Tensor:
    assert batch.x is not None  # noqa: S101 - planned only for datasets with images
    return batch.x


def _map(
    work: Work, cases: Cases, what: str, one: Callable[[Batch, list[int]], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Apply a function to all cases in batches, and join what it returns."""
    parts: list[dict[str, Tensor]] = []
    for index in batches(len(cases), BATCH):
        work.context.progress(index[0], len(cases), what)
        batch = cases.batch(index)
        if batch.x is not None:
            batch = Batch(**{**batch.__dict__, "x": batch.x.to(work.context.device)})
        part = {name: value.cpu() for name, value in one(batch, index).items()}
        require_rows(part, len(index), what)
        if "x_out" in part and part["x_out"].shape[1:] != _x(batch).shape[1:]:
            raise PluginError(f"{what}: images of shape {tuple(part['x_out'].shape)} for {tuple(_x(batch).shape)}")
        require_finite(part, what)
        parts.append(part)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
