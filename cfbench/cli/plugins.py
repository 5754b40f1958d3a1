"""`cfbench plugins`: what is installed."""

from dataclasses import MISSING, Field, fields
from typing import Any, Literal, get_args, get_origin

import click

from cfbench.cli.main import registry_of
from cfbench.registry import Offer, did_you_mean
from cfbench.specs import NoParams


@click.command()
@click.argument("name", required=False)
@click.pass_context
def plugins(ctx: click.Context, name: str | None) -> None:
    """List what is installed; with a NAME, show its parameters with types, defaults and what they mean."""
    offers = registry_of(ctx).offers
    if name is None:
        for kind, of_kind in offers.items():
            if of_kind:
                click.secho(kind, bold=True)
            for offer in of_kind.values():
                click.echo(f"  {offer.spec.name:22}{offer.spec.summary}  [{offer.distribution} {offer.version}]")
        click.echo("\nParameters of one:  cfbench plugins NAME")
        return
    found = [of_kind[name] for of_kind in offers.values() if name in of_kind]
    if not found:
        known = sorted(n for of_kind in offers.values() for n in of_kind)
        raise click.UsageError(f"nothing is called {name!r}{did_you_mean(name, known)}")
    for offer in found:
        _show(offer)


def _show(offer: Offer) -> None:
    spec = offer.spec
    click.secho(f"{offer.kind[:-1]} {spec.name}", bold=True, nl=False)
    click.echo(f"  (plugin {offer.plugin}, {offer.distribution} {offer.version}, {spec.factory})")
    click.echo(f"  {spec.summary}")
    if getattr(spec, "citation", ""):
        click.echo(f"  source: {spec.citation}")
    for field in fields(getattr(spec, "params", NoParams)):
        click.echo(f"  {field.name}: {_type(field)} = {_default(field)}")
        click.echo(click.wrap_text(field.metadata.get("help", ""), 100, "      ", "      "))
    for preset, values in getattr(spec, "presets", {}).items():
        settings = ", ".join(f"{key}={value}" for key, value in values.items())
        click.echo(f"  preset {preset}: {settings}")
    facts = {
        "views": "on",
        "needs": "needs",
        "provides": "provides",
        "direction": "better",
        "unit": "unit",
        "minimum": "from N",
    }
    for attribute, label in facts.items():
        value: Any = getattr(spec, attribute, None)
        if value:
            shown = ", ".join(sorted(value)) if isinstance(value, frozenset | tuple) else value
            click.echo(f"  {label}: {shown}")
    for asset in getattr(spec, "assets", ()):
        click.echo(f"  file: {asset.name} from {asset.url} ({asset.checksum[:20]})")


def _type(field: "Field[Any]") -> str:
    if get_origin(field.type) is Literal:
        return "|".join(map(str, get_args(field.type)))
    plain = isinstance(field.type, type) and not get_args(field.type)
    return str(getattr(field.type, "__name__", field.type) if plain else field.type)


def _default(field: "Field[Any]") -> str:
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    return repr(value)
