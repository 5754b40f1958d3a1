"""Weights on disk: safetensors, and a sentence naming the tensors that don't fit when a file is of another network."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from cfbench.errors import DataError


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's state."""
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}, path)


def load_weights(module: nn.Module, path: Path) -> None:
    """Restore a module's state. Raises DataError naming every tensor that is missing, too many or of another shape."""
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: expected safetensors weights, but it cannot be read ({error})") from error
    wanted = module.state_dict()
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in wanted]
    wrong += [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    if wrong:
        raise DataError(f"{path} does not fit this network: {'; '.join(sorted(wrong))}. Were its parameters others?")
    module.load_state_dict(found)
