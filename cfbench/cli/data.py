"""`cfbench data`: datasets and weights on this machine."""

import math
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from cfbench.cli.datasets import build_dataset, named_dataset
from cfbench.cli.main import registry_of
from cfbench.cli.preview import preview
from cfbench.errors import CfbenchError, ChecksumError, DataError
from cfbench.registry import Registry
from cfbench.specs import Asset, DatasetInfo
from cfbench.suite import read_suite

#: What to do about datasets in a state.
_NEXT = {
    "to set": "to set: get the files from their owner, then `cfbench data check NAME root=FOLDER` (without root: how)",
    "to fetch": "to fetch: `cfbench data fetch NAME`, or `cfbench data check NAME root=FOLDER` if you have the file",
}


@click.group()
def data() -> None:
    """List, fetch and check datasets and weights."""


data.add_command(preview)


@data.command("list")
@click.pass_context
def list_(ctx: click.Context) -> None:
    """List every dataset and weight file, and whether it is on this machine."""
    from cfbench import assets

    registry = registry_of(ctx)
    states = set()
    for name, offer in registry.offers["datasets"].items():
        try:
            info = offer.spec.describe(offer.spec.params())
        except CfbenchError as error:  # it cannot be described before a setting says where its files are
            click.echo(f"  {name:20}{'to set':9}{'':>12}  {offer.spec.summary}: {error}")
            continue
        missing = [asset for asset in info.assets if assets.state(asset) == "missing"]
        state = "to set" if info.missing else "to fetch" if missing else "here" if info.assets else _own(offer.spec)
        size = "x".join(map(str, info.space)) + " px" if info.images else "codes"
        click.echo(f"  {name:20}{state:9}{size:>12}  {offer.spec.summary}")
        if info.licence:
            click.echo(f"{'':43}  licence: {info.licence}")
        states.add(state)
    for asset in _weights(registry):
        state = "here" if assets.state(asset) == "present" else "to fetch"
        click.echo(f"  {asset.name:38}{state:10}{(asset.size or 0) / 1e6:6.0f} MB  {assets.locate(asset)}")
    for state, then in _NEXT.items():
        if state in states:
            click.echo(then)


@data.command()
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.pass_context
def fetch(ctx: click.Context, name: str, settings: tuple[str, ...]) -> None:
    """Fetch the files of a dataset (NAME) or of everything that a suite (a YAML file) needs.

    \b
      cfbench data fetch retinamnist size=128
      cfbench data fetch suites/retina.yaml
    """
    from cfbench import assets
    from cfbench.cli.assets import fetch_with_progress

    for asset in _wanted(registry_of(ctx), name, settings):
        if assets.state(asset) == "missing":
            fetch_with_progress(asset)
        assets.verify(assets.locate(asset), asset.checksum)
        click.echo(f"{asset.name}: here, checksum as published  {assets.locate(asset)}")


@data.command()
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--again", is_flag=True, help="Read the files again, though they have been prepared.")
@click.pass_context
def check(ctx: click.Context, name: str, settings: tuple[str, ...], *, again: bool) -> int:
    """Read every case of a dataset: files, shapes, values, patients across splits; count cases and labels.

    \b
      cfbench data check retinamnist root=/data/medmnist
    """
    from cfbench.protocols import ReportingDataset
    from cfbench.steps.cases import batches, checked

    dataset, info = build_dataset(registry_of(ctx), name, settings, again=again)
    patients: dict[str, str] = {}
    size = "x".join(map(str, info.space))
    what = f"{info.channels} x {size}" if info.images else f"codes of {info.codes} numbers"
    click.echo(f"{name}: {what}, fingerprint {info.fingerprint.removeprefix(f'{name} ')}")
    for split in ("train", "valid", "test"):
        try:
            cases = checked(dataset.cases(split), info, name, split)
        except ChecksumError:
            raise
        except DataError as error:
            if split == "train":
                raise
            click.echo(f"  {split:6}      - {error}")
            continue
        for index in batches(len(cases), 256) if info.images else ():
            cases.batch(index)
        crossing = {p for p in cases.patients if patients.setdefault(p, split) != split}
        if crossing:
            raise CfbenchError(f"{name}: patient {min(crossing)!r} is in two splits ({len(crossing)} such patients)")
        who = f"{len(set(cases.patients))} patients" if info.patients else "patients unknown"
        click.echo(f"  {split:6}{len(cases):7} cases, {who}; " + "; ".join(_counts(cases, info)))
    for line in dataset.report() if isinstance(dataset, ReportingDataset) else ():
        click.echo(f"  {line}")
    then = f"; look at some: {shlex.join(['cfbench', 'data', 'preview', name, *settings])}" if info.images else ""
    click.echo(f"all well{then}")
    return 0


def _own(spec: Any) -> str:
    """Return where a dataset comes from that fetches nothing: from a folder of files, or from its code."""
    return "here" if spec.prepares else "built in"


def _counts(cases: Any, info: DatasetInfo) -> Iterable[str]:
    """Yield the cases of each class; of a measurement, its range."""
    for label, classes in info.labels.items():
        values = cases.labels[label].tolist()
        known = sorted(value for value in values if not math.isnan(value))
        missing = f" missing:{len(values) - len(known)}" if len(known) < len(values) else ""
        if classes:
            counts = Counter(f"{value:g}" for value in known)
            yield f"{label} " + " ".join(f"{value}:{n}" for value, n in counts.items()) + missing
        else:
            extent = f"{known[0]:g} to {known[-1]:g}, median {known[len(known) // 2]:g}" if known else "no value"
            yield f"{label} {extent}{missing}"


def _weights(registry: Registry) -> list[Asset]:
    kinds = ("generators", "attributions", "judges", "metrics")
    found = [a for kind in kinds for offer in registry.offers[kind].values() for a in offer.spec.assets]
    return list(dict.fromkeys(found))


def _wanted(registry: Registry, name: str, settings: tuple[str, ...]) -> Iterable[Asset]:
    if Path(name).suffix in (".yaml", ".yml"):
        from cfbench.plan import make_plan

        return make_plan(read_suite(Path(name), registry, settings), lambda _: "").assets
    return named_dataset(registry, name, settings)[1].assets
