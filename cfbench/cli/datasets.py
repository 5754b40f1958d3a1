"""A dataset as verbs of the command line name it: read, built, and prepared in the store if it has to be."""

from pathlib import Path
from typing import Any

import click

from cfbench.errors import CorruptArtifactError, DataError
from cfbench.places import store_folder
from cfbench.plan import Step, prepare_step
from cfbench.registry import Registry, did_you_mean, resolve
from cfbench.specs import DatasetInfo
from cfbench.store import Store
from cfbench.suite import Component


def named_dataset(registry: Registry, name: str, settings: tuple[str, ...]) -> tuple[Component, DatasetInfo]:
    """Read `NAME key=value ...` as a dataset of a suite is read, with the same messages."""
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from cfbench.suite.components import read_component
    from cfbench.suite.findings import Findings

    if name not in registry.offers["datasets"]:
        raise click.UsageError(f"no dataset is called {name!r}{did_you_mean(name, registry.offers['datasets'])}")
    findings = Findings({}, "command line")
    try:
        config: Any = OmegaConf.to_container(OmegaConf.from_dotlist(list(settings)), resolve=False)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise click.UsageError(f"settings are written key=value: {str(error).splitlines()[0]}") from error
    component = read_component(("datasets", name), {"use": name, **config}, registry, findings)
    findings.raise_if_any()
    assert component  # noqa: S101 - otherwise there was a finding
    return component, component.spec.describe(component.params)  # type: ignore[attr-defined]


def build_dataset(
    registry: Registry, name: str, settings: tuple[str, ...], *, again: bool = False
) -> tuple[Any, DatasetInfo]:
    """Return the dataset `NAME key=value ...`, built and prepared, and what is known of it."""
    component, info = named_dataset(registry, name, settings)
    return open_dataset(registry, component, info, again=again), info


def open_dataset(registry: Registry, component: Component, info: DatasetInfo, *, again: bool = False) -> Any:
    """Return the dataset, ready to be read; `again`: prepared anew.

    Raises:
        DataError: its files are missing or cannot be used.
    """
    if info.missing:
        raise DataError(info.missing)
    dataset = resolve(component.spec.factory)(component.params)
    if component.spec.prepares:  # type: ignore[attr-defined]
        store, step = Store(store_folder()), prepare_step(component, info)
        if again:
            store.discard(step.key)
        dataset.load(_folder(step, registry, store))
    return dataset


def _folder(step: Step, registry: Registry, store: Store) -> Path:
    """Return the step's result: what a run has left in the store, or made now; a run then finds it."""
    store.require_writable()
    with store.lock(step.key):
        if store.has(step.key):
            try:
                return store.read(step.key).folder
            except CorruptArtifactError:
                pass  # it was moved aside
        _make(step, registry, store)
    return store.read(step.key).folder


def _make(step: Step, registry: Registry, store: Store) -> None:
    from cfbench.cli.bar import bar
    from cfbench.worker import make

    work = {"kind": step.kind, "key": step.key, "inputs": step.inputs, "payload": step.payload}
    with bar(step.label) as progress:
        make(work, {"device": "cpu", "threads": step.threads}, registry, store, progress)
    store.drop_scratch(step.key)
