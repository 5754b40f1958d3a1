"""The command `cfbench stylegan2`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from cfbench_nets.conversion import Converted
    from cfbench_stylegan2.official.convert import Copy


@click.group()
def stylegan2() -> None:
    """Bring published weights of StyleGAN2 and e4e into a suite."""


@stylegan2.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new folder.")
@click.option(
    "--copy",
    type=click.Choice(["g_ema", "g"]),
    default="g_ema",
    show_default=True,
    help="The averaged generator, or that of the last step; checkpoints of e4e have one only.",
)
def convert(checkpoint: Path, out: Path, copy: "Copy") -> None:
    """Convert a checkpoint of the public PyTorch StyleGAN2, or of e4e. Nothing in it is executed."""
    from cfbench_stylegan2.official.convert import convert as run  # torch takes seconds to import
    from cfbench_stylegan2.official.convert import suite_params

    made = run(checkpoint, out, copy)
    click.echo(_said(made, suite_params(made.folder)))


def _said(made: "Converted", params: dict[str, object]) -> str:
    """Return what was written and what a suite says to use it."""
    lines = [
        f"{made.folder}: {made.parameters / 1e6:.2f} M weights ({made.provenance['networks']})",
        "In a suite:",
        "generators:",
        "  stylegan2-e4e:",
        "    use: stylegan2-e4e",
        *(f"    {name}: {json.dumps(value)}" for name, value in params.items()),
        f"    weights: {json.dumps(str(made.folder.resolve()))}",
        f"    weights_sha256: {made.sha256}",
    ]
    return "\n".join(lines)
