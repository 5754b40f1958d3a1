"""The command `cfbench doctor`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from cfbench.cli.main import registry_of
from cfbench.cli.run import execute
from cfbench.cli.session import device_of, plan_as_is, run_options
from cfbench.execute import RunFolder
from cfbench.places import store_folder
from cfbench.plan import Plan
from cfbench.store import Store, write_atomically
from cfbench.suite import suite_from_config
from cfbench_doctor.orderings import barred, orderings
from cfbench_doctor.plugin import own_file
from cfbench_doctor.report import markdown, table
from cfbench_doctor.trial import ANSWERS, trial


@click.group()
def doctor() -> None:
    """Test the parts that judge others."""


@doctor.command()
@click.argument("names", metavar="[METRIC]...", nargs=-1)
@click.option("--cases", default=120, show_default=True, help="Test cases per phantom.")
@click.option("--runs", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True)
@click.option("--table", "out", type=click.Path(path_type=Path, dir_okay=False), help="Write the table as Markdown.")
@click.option("--verdicts", type=click.Path(path_type=Path, dir_okay=False), help="Write the verdicts here as well.")
@run_options
@click.pass_context
def metrics(
    ctx: click.Context,
    names: tuple[str, ...],
    cases: int,
    runs: Path,
    out: Path | None,
    verdicts: Path | None,
    offline: bool,  # noqa: ARG001 - phantoms need no file; metrics without their weights are skipped
    executor: str,
    options: tuple[str, ...],
    device: str,
) -> int:
    """Run metrics (all that are installed, or those named) on sentinels and on the truth, over every phantom.

    All of them take some eleven minutes on two cores; what the store has is not made again.

    A validity, realism or localisation metric must not prefer a sentinel to the truth (a tie is no preference). One
    that does is barred: its numbers are shown in every table, and not ranked. The verdicts are kept on this machine.

    \b
      cfbench doctor metrics
      cfbench doctor metrics flip my-metric
    """
    registry = registry_of(ctx)
    wanted = names or tuple(registry.offers["metrics"])
    for name in wanted:
        registry.find("metrics", name)
    suite = suite_from_config(trial(registry, dict.fromkeys((*wanted, "truth-error")), cases), registry)
    plan, folder = plan_as_is(suite, "suites/vcf.yaml"), RunFolder.of(suite, runs)
    code = execute(plan, registry, folder, executor, options, device_of(device), tables=False)
    _tell(plan, folder.path, out, verdicts)
    return code


def _tell(plan: Plan, folder: Path, out: Path | None, verdicts: Path | None) -> None:
    from cfbench_doctor.validity import correlations

    specs = {name: metric.spec for name, metric in plan.suite.metrics.items()}
    directions = {name: spec.direction for name, spec in specs.items()}  # type: ignore[attr-defined]
    found = orderings(json.loads((folder / "ranks.json").read_text(encoding="utf-8")), directions)
    store = Store(store_folder())
    correlated = correlations(_lines(plan, store), directions)
    why = {name: barred(name, spec.role, found.get(name, ())) for name, spec in specs.items()}  # type: ignore[attr-defined]
    rows = table(specs, found, correlated, why)  # type: ignore[arg-type]
    _print(rows)
    if out:
        write_atomically(out, markdown(rows))
    tested = {name: {"version": specs[name].version, "barred": why[name]} for name in found}
    for path in filter(None, (own_file(), verdicts)):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"metrics": {**_kept(path), **tested}}, indent=1, sort_keys=True))


def _lines(plan: Plan, store: Store) -> Iterator[tuple[str, str, str, Path]]:
    """Yield what every answer scored, case by case, on flips."""
    for m in plan.measurements:
        if m.key and m.view == "counterfactual" and m.cell.attribution in ANSWERS and store.has(m.key):
            yield m.cell.dataset, m.metric, str(m.cell.attribution), store.folder(m.key)


def _kept(path: Path) -> Mapping[str, Any]:
    """Return verdicts on metrics that were not tested this time."""
    try:
        kept: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["metrics"]
    except (OSError, ValueError, KeyError):
        return {}
    return kept


def _print(rows: list[tuple[str, str, str, str, str]]) -> None:
    from rich import box
    from rich.table import Table

    from cfbench.cli.console import make_console

    shown = Table(title="Which metrics may be trusted in their role", title_justify="left", box=box.SIMPLE_HEAD)
    shown.add_column("metric", no_wrap=True)
    for name in ("role", "verdict", "against the truth", "rho with the true error"):
        shown.add_column(name, overflow="fold")
    for row in rows:
        shown.add_row(*row, style="red" if row[2] == "barred" else None)
    make_console().print(shown)
