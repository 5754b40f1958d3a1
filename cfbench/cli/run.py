"""`cfbench run`: plan, run what is missing, show the tables."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cfbench.cli.facts import row_costs, run_facts
from cfbench.cli.main import registry_of
from cfbench.cli.session import device_of, make_executor, plan_with_assets, run_options
from cfbench.errors import CfbenchError
from cfbench.plan import Plan
from cfbench.records import Record
from cfbench.registry import Registry, did_you_mean
from cfbench.suite import read_suite

_RUNS = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("suite", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--runs", type=_RUNS, default=Path("runs"), show_default=True, help="Folder of the runs.")
@click.option(
    "--recompute", multiple=True, metavar="PLUGIN", help="Make anew what this plugin made (its code changed)."
)
@run_options
@click.pass_context
def run(
    ctx: click.Context,
    suite: Path,
    overrides: tuple[str, ...],
    runs: Path,
    recompute: tuple[str, ...],
    offline: bool,
    executor: str,
    options: tuple[str, ...],
    device: str,
) -> int:
    """Run a SUITE and show its tables.

    Everything that is done is kept: the same command resumes a run that was stopped and re-uses what is there. Any
    setting can be changed behind the suite, such as:

    \b
      cfbench run suites/vcf.yaml generators.dae.steps=500 cases=50
      cfbench run suites/retina.yaml datasets.retina.root=/data/medmnist
    """
    from cfbench.execute import RunFolder

    registry = registry_of(ctx)
    read = read_suite(suite, registry, overrides)
    folder = RunFolder.of(read, runs)
    plan = plan_with_assets(read, str(suite), offline=offline)
    if recompute:
        _forget(plan, registry, recompute)
    kept = [record for record in folder.read_records() if record.metric not in read.metrics]
    return execute(plan, registry, folder, executor, options, device_of(device), kept)


def _forget(plan: Plan, registry: Registry, plugins: Sequence[str]) -> None:
    from cfbench.execute.stale import forget
    from cfbench.places import store_folder
    from cfbench.store import Store

    known = sorted({name for of_kind in registry.offers.values() for name in of_kind})
    for name in plugins:
        if name not in known:
            raise click.UsageError(f"--recompute: nothing is called {name!r}{did_you_mean(name, known)}")
    click.echo(f"{forget(plan, Store(store_folder()), plugins)} stored results will be made again")


def execute(
    plan: Plan,
    registry: Registry,
    folder: Any,
    executor: str,
    options: Sequence[str],
    device: str,
    kept: Sequence[Record] = (),
    *,
    tables: bool = True,
) -> int:
    """Run a plan, tell the watchers, render the leaderboard, print the tables (if wanted); return the exit code."""
    from cfbench.cli.console import make_console
    from cfbench.cli.display import make_display
    from cfbench.cli.tables import print_classifiers, print_tables
    from cfbench.execute import Runner
    from cfbench.execute.loads import shared_modules
    from cfbench.execute.stale import stale_plugins
    from cfbench.leaderboard.classifiers import classifiers_of
    from cfbench.leaderboard.ranks import read_ranks
    from cfbench.places import store_folder
    from cfbench.store import Store

    console = make_console()

    def report(text: str) -> None:
        console.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True)

    store, started = Store(store_folder()), time.time()
    for remark in plan.remarks:
        report(remark)
    registry.notify("cfbench_run_started", report, plan=plan, folder=folder.path)
    with make_display(console) as display:
        runner = Runner(
            plan=plan,
            store=store,
            folder=folder,
            executor=_Lazy(registry, executor, options, device),
            display=display,
            device=device,
            disabled=registry.disabled,
            stale=stale_plugins(plan, store, registry),
            loads=shared_modules((step for key, step in plan.steps.items() if not store.has(key)), plan, registry),
            barred=registry.barred(),
            kept=tuple(kept),
            on_record=lambda r: registry.notify("cfbench_record_written", report, record=r, folder=folder.path),
        )
        outcome = runner.run()
    failed = sum(record.status == "failed" for record in outcome.records)
    for warning in _write(folder, store, plan, runner.plan.ranks, outcome.records):
        report(f"the audit of {warning}")
    if not kept:  # a plan of a few more metrics does not know what the others stand on
        folder.write_costs(row_costs(plan, store))
    facts = run_facts(plan, registry, store, device, started, 1 if failed else 0)
    folder.write_run(facts)
    if tables:
        print_tables(outcome.records, read_ranks(folder.path), console)
        print_classifiers(classifiers_of(facts), console)
    registry.notify("cfbench_run_finished", report, records=outcome.records, folder=folder.path)
    _closing(outcome, failed, folder.path, time.time() - started, console)
    return 1 if failed else 0


def _write(folder: Any, store: Any, plan: Plan, ranks: Mapping[Any, str], records: Iterable[Record]) -> list[str]:
    """Write what the store holds into a run's folder (`ranks`: of the rows that are left); return audits' warnings."""
    if plan.galleries:
        folder.write_gallery({cell: store.read(key) for cell, key in plan.galleries.items() if store.has(key)})
    if plan.figures:
        folder.write_figures({what: store.read(key) for what, key in plan.figures.items() if store.has(key)})
    warnings = list(folder.write_audits({d: store.read(key) for d, key in plan.audits.items() if store.has(key)}))
    if plan.ranks:
        folder.write_ranks({group: store.read(key) for group, key in ranks.items() if store.has(key)})
    folder.write_scores(store.read(r.key) for r in records if r.key and r.status == "ok" and store.has(r.key))
    return warnings


class _Lazy:
    """An executor that is built when the first job comes: a run that finds everything done starts nothing."""

    def __init__(self, registry: Registry, name: str, options: Sequence[str], device: str) -> None:
        self._arguments = (registry, name, options, device)
        self._made: Any = None
        registry.find("executors", name)

    def submit(self, job: Any) -> None:
        self._made = self._made or make_executor(*self._arguments)
        self._made.submit(job)

    def state(self, job: Any) -> Any:
        return self._made.state(job)

    def how_ended(self, job: Any) -> str:
        return str(self._made.how_ended(job))

    def close(self) -> None:
        if self._made:
            self._made.close()


def _closing(outcome: Any, failed: int, folder: Path, seconds: float, console: Any) -> None:
    """Print what was done, and where to look."""
    from cfbench.compare.site import build
    from cfbench.execute.estimate import duration

    numbers = sum(record.status == "ok" for record in outcome.records)
    skipped = sum(record.status == "skipped" for record in outcome.records)
    console.print(
        f"{numbers} numbers, {skipped} skipped, {failed} failed; {outcome.computed} steps computed, "
        f"{outcome.reused} re-used; {duration(seconds)}",
        highlight=False,
    )
    try:
        page = build([folder], folder / "leaderboard")
    except (CfbenchError, OSError) as error:
        console.print(f"the leaderboard page could not be made: {error}", markup=False)
    else:
        console.print(f"look at {page}", markup=False, highlight=False, soft_wrap=True)
