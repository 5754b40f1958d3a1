"""The latent discriminator of e4e: it tells codes of images from codes of the mapping network."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from cfbench_stylegan2.e4e.params import EncoderParams

#: Linear layers, and slope of the leaky ReLU between them.
LAYERS, SLOPE = 4, 0.2


class LatentDiscriminator(nn.Module):
    """A code to a logit: large where it looks like the mapping network's."""

    def __init__(self, style_dim: int) -> None:
        super().__init__()
        hidden = [part for _ in range(LAYERS - 1) for part in (nn.Linear(style_dim, style_dim), nn.LeakyReLU(SLOPE))]
        self.mlp = nn.Sequential(*hidden, nn.Linear(style_dim, 1))

    def forward(self, w: Float[Tensor, "*n s"]) -> Float[Tensor, "*n"]:
        """Return the logits."""
        return self.mlp(w)[..., 0]


class CodePool:
    """Codes of past steps: each new code is, with probability one half, exchanged for one of them.

    So the discriminator does not forget what the encoder made before (Shrivastava et al. 2017).
    """

    def __init__(self, size: int, style_dim: int, device: str) -> None:
        self.size = size
        self.codes = torch.empty(0, style_dim, device=device)

    def query(self, new: Float[Tensor, "b s"], random: torch.Generator) -> Float[Tensor, "b s"]:
        """Return a code for each new one. Until the pool is full, new ones are stored and returned."""
        if not self.size:
            return new
        given = []
        for code in new:
            exchange, place = float(torch.rand((), generator=random)) < 0.5, self._place(random)
            if len(self.codes) < self.size:
                self.codes = torch.cat([self.codes, code[None]])
                given.append(code)
            elif exchange:
                given.append(self.codes[place].clone())
                self.codes[place] = code
            else:
                given.append(code)
        return torch.stack(given)

    def _place(self, random: torch.Generator) -> int:
        return int(torch.randint(self.size, (), generator=random))


class Critic:
    """The latent discriminator in training, with its optimiser and its pools."""

    def __init__(self, params: EncoderParams, network: LatentDiscriminator, style_dim: int, device: str) -> None:
        self.params, self.network = params, network
        self.adam = torch.optim.Adam(network.parameters(), lr=params.encoder_critic_lr)
        self.real, self.fake = (CodePool(params.encoder_critic_pool, style_dim, device) for _ in range(2))

    def learn(
        self, step: int, real: Float[Tensor, "b s"], fake: Float[Tensor, "b l s"], random: torch.Generator
    ) -> None:
        """Take one step: `real` are codes of the mapping network, `fake` the distinct codes of images.

        Of each image, one layer drawn at random is shown. The R1 penalty has a step of its own, as published.
        """
        layer = torch.randint(fake.shape[1], (len(fake),), generator=random).to(fake.device)
        chosen = fake[torch.arange(len(fake), device=fake.device), layer]
        real, fake = self.real.query(real, random), self.fake.query(chosen, random)
        self.network.requires_grad_(True)
        self._step(softplus(-self.network(real)).mean() + softplus(self.network(fake)).mean())
        if step % self.params.encoder_critic_r1_every == 0:
            weight = self.params.encoder_critic_r1 / 2 * self.params.encoder_critic_r1_every
            self._step(weight * r1(self.network, real))
        self.network.requires_grad_(False)

    def loss(self, codes: Float[Tensor, "b l s"]) -> Float[Tensor, ""]:
        """Return how far the codes are from passing for the mapping network's."""
        return softplus(-self.network(codes)).mean()

    def state(self) -> dict[str, Tensor]:
        """Return what has to be kept to go on."""
        moments = self.adam.state_dict()["state"]
        kept = {f"adam.{number}.{name}": value for number, own in moments.items() for name, value in own.items()}
        kept |= {f"net.{name}": value for name, value in self.network.state_dict().items()}
        return kept | {"pool.real": self.real.codes, "pool.fake": self.fake.codes}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        self.network.load_state_dict({k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")})
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam."):
                _, number, name = key.split(".")
                moments.setdefault(int(number), {})[name] = value
        self.adam.load_state_dict({**self.adam.state_dict(), "state": moments})
        for pool, name in ((self.real, "pool.real"), (self.fake, "pool.fake")):
            pool.codes = state[name].to(pool.codes.device)

    def _step(self, loss: Float[Tensor, ""]) -> None:
        # Kept as zeros: the penalty leaves biases alone, whose momentum goes on as in the authors' loop.
        self.adam.zero_grad(set_to_none=False)
        loss.backward()
        self.adam.step()


def r1(network: nn.Module, w: Float[Tensor, "b s"]) -> Float[Tensor, ""]:
    """Return the mean squared norm of the logits' gradient at real codes (Mescheder et al. 2018)."""
    w = w.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(w).sum(), w, create_graph=True)
    return gradient.square().sum(dim=1).mean()
