"""Values of the parameters that cannot work, told before anything runs."""

from typing import TYPE_CHECKING

from cfbench.errors import SuiteError

if TYPE_CHECKING:
    from cfbench_stylegan2.plugin import StyleGAN2Params

#: Smallest values.
LEAST = {
    "channel_base": 1,
    "channel_max": 1,
    "style_dim": 1,
    "mapping_layers": 1,
    "steps": 1,
    "batch": 1,
    "r1_every": 1,
    "path_every": 1,
    "augment_images": 1,
    "grid_every": 0,
    "r1": 0,
    "path": 0,
}
POSITIVE = ("mapping_lr", "lr", "ema_images")
CONSTANTS = (0, 4, 5, 6, 7)
KINDS = ("blit", "geometry", "colour")
#: Above it, transformations were found in the generated images (Karras et al. 2020b).
SAFE_P = 0.8


def check(params: "StyleGAN2Params") -> None:
    """Raise SuiteError with a line for each value that cannot work."""
    values = vars(params)
    found = [(name, f"at least {least}") for name, least in LEAST.items() if values[name] < least]
    found += [(name, "above 0") for name in POSITIVE if not values[name] > 0]
    wanted = {
        "constant_side": (params.constant_side in CONSTANTS, f"one of {', '.join(map(str, CONSTANTS))}"),
        "mixing": (0 <= params.mixing <= 1, "from 0 to 1"),
        "augment_p": (0 <= params.augment_p <= SAFE_P, f"from 0 to {SAFE_P}, above which transformations leak"),
        "augment_target": (-1 < params.augment_target < 1, "between -1 and 1"),
        "augment_kinds": (
            bool(params.augment_kinds) and set(params.augment_kinds) <= set(KINDS),
            f"some of {', '.join(KINDS)}",
        ),
    }
    found += [(name, sentence) for name, (well, sentence) in wanted.items() if not well]
    if found:
        raise SuiteError(
            "\n".join(f"stylegan2-e4e: {name} must be {sentence}, not {values[name]!r}" for name, sentence in found)
        )
