"""`cfbench audit`: is a dataset fit to be measured on?"""

import json
from pathlib import Path

import click

from cfbench.cli.bar import bar
from cfbench.cli.datasets import build_dataset
from cfbench.cli.main import registry_of


@click.command()
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write the whole report here.")
@click.pass_context
def audit(ctx: click.Context, name: str, settings: tuple[str, ...], file: Path | None) -> int:
    """Look for leakage, contradictions, shifts and shortcuts in the dataset NAME.

    What fails makes suites refuse the dataset, unless they say `allow:` with a reason. Exit code 1 if anything fails.

    \b
      cfbench audit vertebra-phantom
      cfbench audit retinamnist root=/data/medmnist size=28
    """
    from cfbench.audit import audit_dataset
    from cfbench.cli.console import make_console

    console = make_console()
    dataset, info = build_dataset(registry_of(ctx), name, settings)
    with bar("auditing") as progress:
        report = audit_dataset(dataset, info, name, progress)
    colours = {"ok": "green", "warn": "yellow", "fail": "bold red", "n/a": "dim"}
    for finding in report.findings:
        console.print(f"[{colours[finding.level]}]{finding.level:>5}[/]  [bold]{finding.name}[/]  ", end="")
        console.print(finding.sentence, markup=False, highlight=False, soft_wrap=True)
    if file:
        from cfbench.store import write_atomically

        write_atomically(file, json.dumps(report.to_json(), indent=1))
    return 1 if any(finding.level == "fail" for finding in report.findings) else 0
