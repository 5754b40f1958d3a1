"""The command `cfbench dae`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cfbench.errors import SuiteError
from cfbench_dae.plugin import DaeParams, cfbench_generators

if TYPE_CHECKING:
    from cfbench_dae.official import Copy
    from cfbench_nets.conversion import Converted


@click.group()
def dae() -> None:
    """Bring published weights of the diffusion autoencoder into a suite."""


@dae.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--preset", required=True, help="The template that it was trained with (`cfbench plugins dae` lists).")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new folder.")
@click.option("--channels", type=click.IntRange(1), help="Channels of its images; else as the checkpoint says.")
@click.option("--side", type=click.IntRange(1), help="Side of its images in pixels; else as the checkpoint says.")
@click.option(
    "--copy",
    type=click.Choice(["ema_model", "model"]),
    default="ema_model",
    show_default=True,
    help="The averaged weights, or those of the last step.",
)
def convert(checkpoint: Path, preset: str, out: Path, channels: int | None, side: int | None, copy: "Copy") -> None:
    """Convert a checkpoint of the authors' public implementation. Nothing in it is executed."""
    params = template(preset)
    from cfbench_dae.official import convert as run  # torch takes seconds to import

    click.echo(_said(run(checkpoint, out, params, copy=copy, channels=channels, side=side), preset))


def template(preset: str) -> DaeParams:
    """Return the parameters of a preset. Raises SuiteError that lists the presets there are."""
    presets = {name: values for spec in cfbench_generators() for name, values in spec.presets.items()}
    if preset not in presets:
        raise SuiteError(f"dae has no preset {preset!r}: expected one of {', '.join(sorted(presets))}")
    return DaeParams(**presets[preset])


def _said(made: "Converted", preset: str) -> str:
    """Return what was written and what a suite says to use it."""
    step = made.provenance.get("global_step", "an unknown step")
    return (
        f"{made.folder}: {made.parameters / 1e6:.2f} M weights ({made.provenance['copy']}, step {step})\n"
        "In a suite:\n"
        "generators:\n"
        "  dae:\n"
        "    use: dae\n"
        f"    preset: {preset}\n"
        f"    weights: {json.dumps(str(made.folder.resolve()))}\n"
        f"    weights_sha256: {made.sha256}\n"
        "    latent_steps: 0"
    )
