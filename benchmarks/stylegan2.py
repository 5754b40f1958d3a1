"""Speed of StyleGAN2's modulated convolution in two forms that are mathematically equal, and of its training steps.

    python benchmarks/stylegan2.py [--preset quick] [--side 40] [--batch 16] [--rounds 5]

`grouped` gives every image weights of its own and convolves a batch laid out as channels; `scaled` multiplies inputs by
the style and outputs by the demodulation, and is what the networks use. For both: drawing images, and a step of the
generator (forward, discriminator, backward). Then, in the form that is used: a step of the discriminator, and the lazy
penalties (R1, path length), which are made in every 16th and 4th step. On a CPU the time is that of one thread, without
what others do on the machine; the forms take turns.

Images and gradients of both forms must agree to 1e-4; otherwise the exit status is 1.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from cfbench.protocols import Context
from cfbench.specs import DatasetInfo
from cfbench_stylegan2.losses import discriminator_loss, generator_loss, path_lengths, path_penalty, r1_penalty
from cfbench_stylegan2.networks import generator as layers
from cfbench_stylegan2.networks.build import new_discriminator, new_generator
from cfbench_stylegan2.networks.modulated import grouped, scaled
from cfbench_stylegan2.plugin import StyleGAN2Params
from cfbench_stylegan2.presets import PRESETS

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
#: Largest relative difference of a result.
LIMIT = 1e-4


def with_own_weights(
    x: Tensor, weight: Tensor, style: Tensor, demodulate: bool, fir: Tensor | None, gain: float, bias: Tensor
) -> Tensor:
    """Return the modulated convolution in the grouped form, with what else a layer does to it."""
    return grouped(x, weight, style, demodulate, fir) * gain + bias[:, None, None]


FORMS = {"grouped": with_own_weights, "scaled": scaled}


def clock() -> float:
    """Return seconds: of the GPU's work until it is done, or of this process's one CPU thread, whoever else is busy."""
    if not CUDA:
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


class Bench:
    """A generator and a discriminator with random weights, and a batch of noise."""

    def __init__(self, params: StyleGAN2Params, data: DatasetInfo) -> None:
        here, n = Context(seed=0, folder=Path(), device=DEVICE), params.batch
        self.generator, self.discriminator = new_generator(params, data, here), new_discriminator(params, data, here)
        g, random = self.generator, torch.Generator(DEVICE).manual_seed(0)
        self.z = torch.randn(n, g.style_dim, generator=random, device=DEVICE)
        self.x = torch.rand(n, data.channels, g.side, g.side, generator=random, device=DEVICE) * 2 - 1
        self.noise = g.draw_noise(n, random)

    def images(self) -> Tensor:
        """Return generated images."""
        return self.generator.synthesis(self.styles(), self.noise)

    def styles(self) -> Tensor:
        """Return the styles of all layers."""
        return self.generator.mapping(self.z)[:, None].expand(-1, self.generator.num_ws, -1)

    @torch.no_grad()
    def draw(self) -> Tensor:
        """Draw images."""
        return self.images()

    def generate(self) -> Tensor:
        """Return the gradient of a generator's step."""
        return self._gradient(generator_loss(self.discriminator(self.images())), self.generator)

    def discriminate(self) -> Tensor:
        """Return the gradient of a discriminator's step."""
        loss = discriminator_loss(self.discriminator(self.x), self.discriminator(self.draw()))
        return self._gradient(loss, self.discriminator)

    def r1(self) -> Tensor:
        """Return the gradient of the R1 penalty."""
        return self._gradient(r1_penalty(self.discriminator, self.x), self.discriminator)

    def path(self) -> Tensor:
        """Return the gradient of the path-length penalty."""
        ws = self.styles()
        lengths = path_lengths(self.generator.synthesis(ws, self.noise), ws, torch.Generator(DEVICE).manual_seed(1))
        return self._gradient(path_penalty(lengths, torch.zeros((), device=DEVICE))[0], self.generator)

    def _gradient(self, loss: Tensor, network: torch.nn.Module) -> Tensor:
        weights = list(network.parameters())
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        return torch.cat([gradient.flatten() for gradient in gradients])


def timed(work: Callable[[], Tensor], form: str) -> tuple[float, Tensor]:
    """Return the seconds that it takes in a form, and its result."""
    layers.scaled = FORMS[form]
    started = clock()
    result = work()
    taken = clock() - started
    layers.scaled = scaled
    return taken, result


def compare(title: str, work: Callable[[], Tensor], rounds: int) -> bool:
    """Time both forms in turn, print a line, and return whether they agree."""
    times: dict[str, list[float]] = {form: [] for form in FORMS}
    found = {}
    for _ in range(rounds + 1):
        for form in FORMS:
            taken, found[form] = timed(work, form)
            times[form].append(taken)
    # The first round warms up.
    ms = {form: 1e3 * median(taken[1:]) for form, taken in times.items()}
    off = float((found["scaled"] - found["grouped"]).norm() / found["grouped"].norm())
    ratio = ms["scaled"] / ms["grouped"]
    print(f"  {title:24}{ms['grouped']:10.1f}{ms['scaled']:10.1f}{ratio:8.2f}{off:10.0e}")
    return off < LIMIT


def main() -> int:
    """Measure and print; return 1 if results differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="ffhq128" if CUDA else "quick", choices=sorted(PRESETS))
    parser.add_argument("--side", type=int, default=128 if CUDA else 40)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    params = StyleGAN2Params(**{**PRESETS[given.preset], "batch": given.batch})
    data = DatasetInfo(channels=1, space=(given.side, given.side), labels={}, fingerprint="noise")
    bench = Bench(params, data)
    weights = [sum(w.numel() for w in net.parameters()) / 1e6 for net in (bench.generator, bench.discriminator)]
    device = torch.cuda.get_device_name() if CUDA else "one CPU thread"
    print(
        f"{given.preset}, {given.side} pixels, batch {given.batch}; {weights[0]:.2f} M and {weights[1]:.2f} M weights"
    )
    print(f"torch {torch.__version__} on {device}\n")
    print(f"  {'milliseconds':24}{'grouped':>10}{'scaled':>10}{'ratio':>8}{'differ':>10}")
    work = {
        "drawing images": bench.draw,
        "generator step": bench.generate,
        "discriminator step": bench.discriminate,
        "R1 penalty": bench.r1,
        "path-length penalty": bench.path,
    }
    agreed = [compare(title, each, given.rounds) for title, each in work.items()]
    print("\nsame results" if all(agreed) else f"\nresults differ by more than {LIMIT}")
    return 0 if all(agreed) else 1


if __name__ == "__main__":
    sys.exit(main())
