"""What the verbs `run`, `score` and `plan` have in common: suite, plan, store, executor."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from cfbench.errors import SuiteError
from cfbench.plan import Plan, make_plan
from cfbench.registry import Registry, resolve
from cfbench.specs import Asset, ExecutorSpec
from cfbench.suite import Suite


def plan_with_assets(suite: Suite, source: str, *, offline: bool) -> Plan:
    """Fetch what the suite needs and plan it with what can be had."""
    from cfbench.cli.assets import obtain

    wanted = make_plan(suite, lambda _: "").assets
    return make_plan(suite, obtain(wanted, offline, f"cfbench data fetch {source}"))


def plan_as_is(suite: Suite, source: str) -> Plan:
    """Plan a suite with what is on this machine, without fetching anything."""
    from cfbench import assets
    from cfbench.cli.assets import why_missing

    def unavailable(asset: Asset) -> str:
        missing = assets.state(asset) == "missing"
        return why_missing(asset, f"cfbench data fetch {source}") if missing else ""

    return make_plan(suite, unavailable)


def device_of(choice: str) -> str:
    """Return `cpu` or `cuda`; `auto` takes a GPU if the machine has one (asked without importing torch)."""
    if choice != "auto":
        return choice
    return "cuda" if gpu_ids() else "cpu"


def gpu_ids() -> list[str]:
    """Return the ids of this machine's NVIDIA GPUs."""
    found = Path("/dev").glob("nvidia[0-9]*")
    return sorted(path.name.removeprefix("nvidia") for path in found)


def make_executor(registry: Registry, name: str, options: Sequence[str], device: str) -> Any:
    """Build an executor from its name and `key=value` options."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    spec: ExecutorSpec = registry.find("executors", name)
    config = OmegaConf.structured(spec.params)
    try:
        config = OmegaConf.merge(config, OmegaConf.from_dotlist(list(options)))
    except OmegaConfBaseException as error:
        raise SuiteError(
            f"-x {' '.join(options)}: {str(error).splitlines()[0]} (see `cfbench plugins {name}`)"
        ) from error
    if device == "cuda" and name == "local" and not config.gpus:
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(gpu_ids()) or "0"
        config = OmegaConf.merge(config, {"gpus": gpus})
    return resolve(spec.factory)(OmegaConf.to_object(config))


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `run` and `score` share."""
    for option in (
        click.option("--offline", is_flag=True, help="Never use the network; skip what is missing."),
        click.option("--executor", default="local", show_default=True, help="Where steps run (see `cfbench plugins`)."),
        click.option("-x", "options", multiple=True, metavar="KEY=VALUE", help="Executor parameter, such as cores=1."),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    ):
        command = option(command)
    return command
