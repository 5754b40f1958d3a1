"""`cfbench submit`: a finished run as a bundle to hand in."""

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cfbench.cli.main import registry_of

if TYPE_CHECKING:
    from cfbench.submission.write import Draft

#: What a reader of the table learns of each part.
_PARTS = {
    "bundle.json": "manifest: a digest of every file, the suite's hash, marks",
    "records.jsonl": "every number with its interval, or why there is none",
    "scores/": "per-case scores behind the numbers",
    "ranks.json": "tiers, and the differences of pairs",
    "costs.json": "what each row's steps took, digests of weights",
    "run.json": "versions, hardware, parameters, definitions of the metrics",
    "suite.json": "the suite as it was resolved",
    "plan.json": "the steps behind every number, by their keys",
}


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path), help="File to write (.zip), or a folder for it.  [default: here]"
)
@click.pass_context
def submit(ctx: click.Context, run: Path, out: Path | None) -> None:
    """Write the bundle of a finished RUN (its folder), for others to check and to show.

    It holds no images. Cases and patients of datasets that must not be redistributed get pseudonyms, and absolute
    paths and host names are left out (docs/submission.md).

    \b
      cfbench submit runs/vcf/0123456789ab
    """
    from cfbench.cli.bundles import facts_of, plan_of
    from cfbench.execute import RunFolder
    from cfbench.places import store_folder
    from cfbench.store import Store
    from cfbench.submission.bundle import bundle_name
    from cfbench.submission.write import make_bundle, read_about

    about = read_about(run)
    plan = plan_of(RunFolder(run).config(), about, registry_of(ctx), str(run))
    draft = make_bundle(run, facts_of(plan, Store(store_folder())))
    data = draft.packed()
    digest = sha256(data).hexdigest()
    name = bundle_name(plan.suite.name, digest)
    path = (out if out.suffix == ".zip" else out / name) if out else Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    _show(draft, plan.suite.name, path, len(data), digest)


def _show(draft: "Draft", suite: str, path: Path, size: int, digest: str) -> None:
    """Print what is in a bundle, and what comes next."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from cfbench.cli.console import make_console

    console = make_console()
    table = Table(title=Text(f"{path}  ({size / 1024:,.0f} KiB)"), title_justify="left", box=box.SIMPLE_HEAD)
    for head in ("part", "KiB", "what it is"):
        table.add_column(head, justify="right" if head == "KiB" else "left")
    for part, what in _PARTS.items():
        sizes = [len(data) for name, data in draft.entries.items() if name == part or name.startswith(part)]
        shown = f"{part} ({len(sizes)} tables)" if part.endswith("/") else part
        table.add_row(Text(shown), f"{sum(sizes) / 1024:,.1f}", what)
    console.print(table)
    for mark in draft.marks:
        console.print(f"marked: {mark}", markup=False, highlight=False)
    lines = (
        f"sha256 {digest}",
        "Next:",
        f"  1. cfbench verify {path}    checks it as others will",
        f"  2. put it under leaderboard/records/{suite}/, and nothing else, in a branch of the project",
        "  3. open a pull request: a workflow verifies it, and once merged the site shows it as self-reported",
    )
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
