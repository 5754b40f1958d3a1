"""Values of the parameters that cannot work, told before anything runs."""

import re
from typing import TYPE_CHECKING

from cfbench.errors import SuiteError

if TYPE_CHECKING:
    from cfbench_text_ldm.plugin import TextLdmParams

#: Smallest values. A prompt has two ends beside its words.
LEAST = {
    "size": 0,
    "ae_channels": 1,
    "ae_blocks": 1,
    "latent_channels": 1,
    "kl_weight": 0,
    "ae_steps": 1,
    "ae_batch": 1,
    "token_length": 3,
    "text_width": 1,
    "text_layers": 1,
    "text_heads": 1,
    "channels": 2,
    "res_blocks": 1,
    "heads": 1,
    "groups": 1,
    "T": 3,
    "steps": 0,
    "batch": 1,
    "weight_decay": 0,
    "stage_batch": 1,
    "prior_weight": 0,
    "prior_images": 1,
    "sample_steps": 1,
}
POSITIVE = ("ae_lr", "lr", "stage_lr")
#: At least 0 and below 1.
SHARES = ("ae_ema", "ema", "null_prompt", "stage_null_prompt")
STAGES = ("stage_words", "stage_prompts", "stage_classes", "stage_steps")
COMMIT = re.compile(r"[0-9a-f]{40}")


def check(params: "TextLdmParams") -> None:
    """Raise SuiteError with a line for each value that cannot work."""
    values = vars(params)
    wrong = [(name, f"at least {least}") for name, least in LEAST.items() if not values[name] >= least]
    wrong += [(name, "above 0") for name in POSITIVE if not values[name] > 0]
    wrong += [(name, "at least 0 and below 1") for name in SHARES if not 0 <= values[name] < 1]
    wrong += [
        (name, "factors of 1 or more") for name in ("ae_mult", "channel_mult") if min(values[name], default=0) < 1
    ]
    wrong += [(name, "a commit: 40 hexadecimal digits") for name in _unpinned(params)]
    wrong += [] if 0 <= params.label_words <= 1 else [("label_words", "between 0 and 1")]
    lines = [f"text-ldm: {name} must be {wanted}, not {values[name]!r}" for name, wanted in wrong]
    lines = [*lines, *_shape(params), *_stages(params)]
    if lines:
        raise SuiteError("\n".join(lines))


def _unpinned(params: "TextLdmParams") -> list[str]:
    pins = {"revision": params.revision, "text_revision": params.text_revision}
    return [name for name, pin in pins.items() if pin and not COMMIT.fullmatch(pin)]


def _shape(params: "TextLdmParams") -> list[str]:
    lines = []
    if len(params.attention) != len(params.channel_mult):
        lines.append(f"attention must say yes or no for each of the {len(params.channel_mult)} levels of channel_mult")
    if params.sample_steps >= params.T:
        lines.append(f"sample_steps must be below T = {params.T}, not {params.sample_steps}")
    if not params.weights:
        lines += _divisible(params)
    return [f"text-ldm: {line}" for line in lines]


def _divisible(params: "TextLdmParams") -> list[str]:
    """Return what group norms and attention heads cannot divide, in networks from scratch."""
    parts = [
        (
            "ae_channels times each of ae_mult",
            (params.ae_channels * m for m in params.ae_mult),
            "groups",
            params.groups,
        ),
        (
            "channels times each of channel_mult",
            (params.channels * m for m in params.channel_mult),
            "groups",
            params.groups,
        ),
        (
            "channels times each of channel_mult",
            (params.channels * m for m in params.channel_mult),
            "heads",
            params.heads,
        ),
        ("text_width", [params.text_width], "text_heads", params.text_heads),
    ]
    return [
        f"{what} must be a multiple of {name} = {by}, and {n} is not"
        for what, numbers, name, by in parts
        for n in numbers
        if by > 0 and n % by
    ]


def _stages(params: "TextLdmParams") -> list[str]:
    lengths = {name: len(getattr(params, name)) for name in STAGES}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        return [f"text-ldm: every stage needs an entry in each of {', '.join(STAGES)}: {found}"]
    if min(params.stage_steps, default=1) < 1:
        return [f"text-ldm: stage_steps must be 1 or more each, not {params.stage_steps}"]
    if not params.weights and not params.steps:
        return ["text-ldm: steps is 0 and there are no weights to start from: set steps, or name weights"]
    return []
