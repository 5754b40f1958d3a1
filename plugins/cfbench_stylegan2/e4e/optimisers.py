"""The optimisers of e4e's authors: Ranger (RAdam, lookahead and centred gradients), and plain Adam."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

#: Settings of the public Ranger: betas and epsilon of RAdam, steps between two looks back, share of the way taken.
BETAS, EPSILON, EVERY, SHARE = (0.95, 0.999), 1e-5, 6, 0.5


class Adam:
    """Adam, whose state is plain tensors. `lr` is given at every step."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        self.weights = list(weights)
        self.inner = self._inner()

    def step(self, lr: float) -> None:
        """Move the weights that have a gradient."""
        self.inner.param_groups[0]["lr"] = lr
        self.inner.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.inner.zero_grad()

    def state(self) -> dict[str, Tensor]:
        """Return what has to be kept to go on, by `<number of the weight>.<name>`."""
        moments = self.inner.state_dict()["state"]
        return {f"{number}.{name}": value for number, own in moments.items() for name, value in own.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            number, name = key.split(".")
            moments.setdefault(int(number), {})[name] = value
        self.inner.load_state_dict({**self.inner.state_dict(), "state": moments})

    def _inner(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.weights, foreach=True)


class Ranger(Adam):
    """RAdam (Liu et al. 2020) with lookahead (Zhang et al. 2019) and centred gradients (Yong et al. 2020).

    Every `EVERY` steps, weights go back half-way to where they last did so. Gradients of matrices and kernels get mean
    zero per output. Steps are counted for each weight from its first gradient on: layers may join later.
    """

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__(weights)
        self._slow: dict[int, Tensor] = {}

    def step(self, lr: float) -> None:
        """Move the weights that have a gradient."""
        moving = [number for number, weight in enumerate(self.weights) if weight.grad is not None]
        for number in moving:
            self._slow.setdefault(number, self.weights[number].detach().clone())
            _centre(self.weights[number].grad)
        super().step(lr)
        for number in moving:
            weight, slow = self.weights[number], self._slow[number]
            if int(self.inner.state[weight]["step"]) % EVERY == 0:
                slow.lerp_(weight.detach(), SHARE)
                weight.data.copy_(slow)

    def state(self) -> dict[str, Tensor]:
        """Return what has to be kept to go on, by `<number of the weight>.<name>`."""
        return super().state() | {f"{number}.slow": value for number, value in self._slow.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        super().restore({key: value for key, value in state.items() if not key.endswith(".slow")})
        numbers = [int(key.removesuffix(".slow")) for key in state if key.endswith(".slow")]
        self._slow = {number: state[f"{number}.slow"].to(self.weights[number].device) for number in numbers}

    def _inner(self) -> torch.optim.Optimizer:
        return torch.optim.RAdam(self.weights, betas=BETAS, eps=EPSILON, foreach=True)


def _centre(gradient: Tensor | None) -> None:
    if gradient is not None and gradient.ndim > 1:
        gradient -= gradient.mean(dim=tuple(range(1, gradient.ndim)), keepdim=True)
