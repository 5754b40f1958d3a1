"""`cfbench verify`: whether a bundle is what it says."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cfbench.cli.main import registry_of
from cfbench.cli.session import device_of

if TYPE_CHECKING:
    from cfbench.plan import Plan
    from cfbench.registry import Registry
    from cfbench.submission.bundle import Bundle
    from cfbench.submission.checks import Check, Rerun, Verdict

_MARKS = {"good": "[green]good[/]", "fault": "[bold red]FAULT[/]", "note": "[yellow]note[/]", "open": "[yellow]open[/]"}
#: Details that are printed per check; `verified.json` has more.
_SHOWN = 8


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--rerun", metavar="N|all", help="Make N random cases of each dataset again, and compare their scores.")
@click.option("--train", is_flag=True, help="Train what the re-run needs and this machine's store does not have.")
@click.option("--seed", type=int, help="Of the draw of cases.  [default: a new one each time]")
@click.option("--tolerance", type=float, default=1e-3, show_default=True, help="Relative difference of two scores.")
@click.option(
    "--secret", type=click.Path(path_type=Path, exists=True), help="The submission's secret: undoes pseudonyms."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("verified.json"), show_default=True
)
@click.pass_context
def verify(
    ctx: click.Context,
    bundle: Path,
    overrides: tuple[str, ...],
    rerun: str | None,
    train: bool,
    seed: int | None,
    tolerance: float,
    secret: Path | None,
    device: str,
    out: Path,
) -> int:
    """Check a BUNDLE of `cfbench submit`; the verdict goes to `verified.json`.

    Digests and form first, then every mean, interval and rank from the per-case scores. With --rerun, cases are drawn
    and made again. Settings behind it name data on this machine. Exit codes: 0 no fault, 1 a fault, 2 no bundle.

    \b
      cfbench verify vcf-0123456789ab.cfbench.zip --rerun 10
      cfbench verify retina-0123456789ab.cfbench.zip --rerun 10 datasets.retina.root=/data/medmnist
    """
    from cfbench.store import write_atomically
    from cfbench.submission.bundle import read_bundle

    cases = _cases(rerun)
    read = read_bundle(bundle)
    wishes = {"cases": cases, "train": train, "seed": seed, "tolerance": tolerance, "secret": secret}
    verdict = _verdict(read, registry_of(ctx), overrides, {**wishes, "device": device_of(device)})
    write_atomically(out, json.dumps(verdict.to_json(), indent=1) + "\n")
    _show(verdict, out)
    return 0 if verdict.good else 1


def _cases(rerun: str | None) -> int | None:
    """Return how many cases are wanted again: 0 = all, None = none."""
    if rerun is None:
        return None
    if rerun != "all" and not (rerun.isascii() and rerun.isdigit() and 0 < int(rerun) < 10**9):
        raise click.UsageError(f"--rerun: expected a number of cases or `all`, got {rerun!r}")
    return 0 if rerun == "all" else int(rerun)


def check(bundle: "Bundle", registry: "Registry") -> "Verdict":
    """Return the verdict on a bundle without making anything again."""
    return _verdict(bundle, registry, (), {"cases": None})


def _verdict(bundle: "Bundle", registry: "Registry", overrides: Sequence[str], wishes: dict[str, Any]) -> "Verdict":
    from cfbench.cli.bundles import installed_of, metrics_of, try_plan
    from cfbench.submission.checks import Verdict, check_content, check_form, rerun_check

    form = check_form(bundle)
    if any(check.status == "fault" for check in form):
        return Verdict(bundle, form)
    plan, problem = try_plan(bundle.suite, bundle.about, registry, overrides)
    found = check_content(bundle, installed_of(plan, problem, registry), metrics_of(bundle.about, registry))
    checks, again = [*form, *found.checks], found.rerun
    if wishes["cases"] is not None:
        broken = any(check.status == "fault" for check in checks)
        again = replace(again, summary=f"not done: {problem or 'the bundle contradicts itself'}")
        again = _rerun(bundle, plan, registry, wishes) if plan and not broken else again
    return Verdict(bundle, [*checks, rerun_check(again)], found.numbers, found.stale, again)


def _rerun(bundle: "Bundle", plan: "Plan", registry: "Registry", wishes: dict[str, Any]) -> "Rerun":
    import secrets
    import tempfile

    from cfbench.cli.remake import Remake
    from cfbench.cli.rerun import Comparison
    from cfbench.places import store_folder
    from cfbench.store import Store
    from cfbench.submission.privacy import Pseudonyms, read_secret

    names = Pseudonyms(read_secret(wishes["secret"])) if wishes["secret"] else None
    with tempfile.TemporaryDirectory(prefix="cfbench-verify-") as scratch:
        remake = Remake(
            plan=plan,
            registry=registry,
            base=Store(store_folder()),
            scratch=Path(scratch),
            cases=wishes["cases"],
            seed=secrets.randbits(32) if wishes["seed"] is None else wishes["seed"],
            train=wishes["train"],
            device=wishes["device"],
            report=click.echo,
        )
        return Comparison(bundle, remake, wishes["tolerance"], names).run()


def _show(verdict: "Verdict", out: Path) -> None:
    """Print the checks, the badges of the rows, and the verdict. Every text may be a stranger's."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from cfbench.cli.console import make_console
    from cfbench.leaderboard.text import plain

    console = make_console()
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("check", "", "what came of it"):
        table.add_column(head)
    for check in verdict.checks:
        table.add_row(Text(check.name), _MARKS[check.status], Text(plain(check.summary)))
    console.print(table)
    for check in verdict.checks:
        if check.status in ("fault", "note") and check.details:
            _details(check, console)
    for row, badges in verdict.badges().items() if verdict.numbers else ():
        name = " / ".join(plain(part) for part in row if part)
        console.print(f"{name}: {', '.join(badges)}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"bundle {verdict.bundle.sha256}", markup=False, highlight=False, soft_wrap=True)
    words = "no fault found" if verdict.good else "NOT as it says"
    console.print(f"{words}; the verdict is in {out}", markup=False, highlight=False, soft_wrap=True)


def _details(check: "Check", console: Any) -> None:
    from cfbench.leaderboard.text import plain

    for detail in check.details[:_SHOWN]:
        console.print(f"{check.name}: {plain(detail)}", markup=False, highlight=False, soft_wrap=True)
    if len(check.details) > _SHOWN:
        console.print(f"{check.name}: and {len(check.details) - _SHOWN} more", markup=False, highlight=False)
