"""Files that a suite needs: fetched before the first step; what cannot be had is a reason, not a stop."""

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from cfbench import assets
from cfbench.errors import CfbenchError, OfflineError
from cfbench.specs import Asset

#: Seconds after which a server that does not answer counts as out of reach.
_PATIENCE = 10.0


def obtain(wanted: Iterable[Asset], offline: bool, hint: str) -> Callable[[Asset], str]:
    """Fetch what is missing, and return a function that says why an asset cannot be used ("" if it can)."""
    reasons: dict[Asset, str] = {}
    for asset in wanted:
        if assets.state(asset) == "present":
            continue
        if offline or asset.root is not None:
            reasons[asset] = why_missing(asset, hint)
            continue
        try:
            fetch_with_progress(asset)
        except OfflineError as error:
            click.echo(f"note: {error}", err=True)
            reasons[asset] = why_missing(asset, hint)
        except CfbenchError as error:
            reasons[asset] = str(error)
    return lambda asset: reasons.get(asset, "")


def why_missing(asset: Asset, hint: str) -> str:
    """Return the sentence about a file that is not there."""
    path = assets.locate(asset)
    if asset.root is not None:
        return f"{path} is missing or has another size; that folder was named by the suite (root:)"
    # Records are published: they need not tell who ran them.
    place = Path("~") / path.relative_to(Path.home()) if path.is_relative_to(Path.home()) else path
    return f"{asset.name} is not on this machine; with a network type `{hint}`, or put it at {place}"


def fetch_with_progress(asset: Asset) -> None:
    """Download one asset with a bar (or, where there is no terminal, one line)."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    size = f" ({asset.size / 1e6:.0f} MB)" if asset.size else ""
    click.echo(f"fetching {asset.name}{size}", err=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    from rich.console import Console

    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(asset.name, total=asset.size)
        assets.fetch(asset, lambda done, total: progress.update(bar, completed=done, total=total), _PATIENCE)
