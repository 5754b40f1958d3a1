"""`cfbench score`: more metrics on what a run has stored."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cfbench.cli.main import registry_of
from cfbench.cli.run import execute
from cfbench.cli.session import device_of, plan_with_assets, run_options
from cfbench.errors import SuiteError
from cfbench.places import store_folder
from cfbench.plan import Measurement, Plan
from cfbench.records import read_records
from cfbench.store import Store
from cfbench.suite import suite_from_config

#: Steps that look at stored images but make none.
_CHEAP = {"measure", "reference", "judge", "fit_judge", "fit_explained", "gallery", "assess", "audit", "rank"}


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("metrics", nargs=-1, required=True)
@run_options
@click.pass_context
def score(
    ctx: click.Context,
    run: Path,
    metrics: tuple[str, ...],
    offline: bool,
    executor: str,
    options: tuple[str, ...],
    device: str,
) -> int:
    """Measure METRICS on what a RUN (its folder) has stored, without generating anything again.

    \b
      cfbench score runs/vcf/0123456789ab ms-ssim-3scale outside-change
    """
    from cfbench.execute import RunFolder

    registry, folder = registry_of(ctx), RunFolder(run)
    config = folder.config()
    suite = suite_from_config({**config, "metrics": {name: {"use": name} for name in metrics}}, registry, file=str(run))
    plan = _stored_only(plan_with_assets(suite, str(run), offline=offline), Store(store_folder()))
    kept = [record for record in read_records(folder.records) if record.metric not in suite.metrics]
    return execute(plan, registry, folder, executor, options, device_of(device), kept)


def _stored_only(plan: Plan, store: Store) -> Plan:
    """Skip what would need a new image, and leave the pictures as they are."""
    missing = {key: step.label for key, step in plan.steps.items() if step.kind not in _CHEAP and not store.has(key)}
    if missing and len(missing) == sum(step.kind not in _CHEAP for step in plan.steps.values()):
        raise SuiteError("nothing of this run is in the store any more; run its suite again")
    checked = tuple(_checked(m, plan, missing, store) for m in plan.measurements)
    ranks = {group: key for group, key in plan.ranks.items() if not _first_missing(key, plan, missing, store)}
    assessed = {who: key for who, key in plan.assessed.items() if not _first_missing(key, plan, missing, store)}
    return replace(plan, measurements=checked, galleries={}, figures={}, ranks=ranks, assessed=assessed)


def _checked(measurement: Measurement, plan: Plan, missing: Mapping[str, str], store: Store) -> Measurement:
    lost = _first_missing(measurement.key, plan, missing, store) if measurement.key else None
    if lost is None:
        return measurement
    values: dict[str, Any] = {"key": None, "status": "skipped", "reason": f"not stored: {lost}; `cfbench run` makes it"}
    return replace(measurement, **values)


def _first_missing(key: str, plan: Plan, missing: Mapping[str, str], store: Store) -> str | None:
    if store.has(key):
        return None
    if key in missing:
        return missing[key]
    return next(filter(None, (_first_missing(k, plan, missing, store) for k in plan.steps[key].inputs.values())), None)
