"""`cfbench`: the group of verbs. A verb's module is imported when it is typed; `--help` needs none of them."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import click

from cfbench import __version__
from cfbench.errors import CfbenchError
from cfbench.registry import Registry, load, resolve

#: Verb to its command and its line of help.
_VERBS = {
    "run": ("cfbench.cli.run:run", "Run a suite; run it again to resume, and to re-use what is done."),
    "plan": ("cfbench.cli.plan:plan", "Show what would run, what is done, and what is skipped and why."),
    "score": ("cfbench.cli.score:score", "Measure more metrics on a run's stored counterfactuals."),
    "leaderboard": ("cfbench.cli.leaderboard:leaderboard", "Render tables and gallery from the records of runs."),
    "submit": ("cfbench.cli.submit:submit", "Write a finished run as one file to hand in."),
    "verify": ("cfbench.cli.verify:verify", "Check a bundle: digests, every aggregate, a re-run of some cases."),
    "compare": ("cfbench.cli.compare:compare", "Set two methods of a run, or two runs, against each other."),
    "plugins": ("cfbench.cli.plugins:plugins", "Show what is installed, with parameters and defaults."),
    "audit": ("cfbench.cli.audit:audit", "Look for leakage, contradictions and shortcuts in a dataset."),
    "data": ("cfbench.cli.data:data", "List, fetch and check datasets and weights."),
}
_EPILOG = (
    "Start with:  cfbench run suites/vcf.yaml    (any setting can be changed: generators.dae.steps=500)\n\n"
    "Exit codes: 0 all well, 1 some cells failed, 2 bad usage or bad suite."
)


class Verbs(click.Group):
    """The core's verbs, and those of plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs."""
        return [*_VERBS, *(name for name in registry_of(ctx).offers["commands"] if name not in _VERBS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name in _VERBS:
            module, _, name = _VERBS[cmd_name][0].partition(":")
            command: click.Command = getattr(import_module(module), name)
            return command
        offer = registry_of(ctx).offers["commands"].get(cmd_name)
        return resolve(offer.spec.factory) if offer else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        offers = registry_of(ctx).offers["commands"]
        rows = [(name, summary) for name, (_, summary) in _VERBS.items()]
        rows += [(name, offer.spec.summary) for name, offer in offers.items() if name not in _VERBS]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def registry_of(ctx: click.Context) -> Registry:
    """Return the registry of this call, loaded once."""
    root = ctx.find_root()
    if not isinstance(root.obj, Registry):
        root.obj = load(_disabled(root.params.get("plugin") or ()))
    return root.obj


def _disabled(options: Sequence[str]) -> tuple[str, ...]:
    names = []
    for option in options:
        if not option.startswith("no:"):
            raise click.BadParameter(f"expected no:NAME, got {option!r}", param_hint="-p")
        names.append(option.removeprefix("no:"))
    return tuple(names)


@click.group(
    cls=Verbs, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="cfbench")
@click.option(
    "-p", "plugin", multiple=True, is_eager=True, metavar="no:NAME", help="Go without a plugin (not even imported)."
)
def cli(plugin: tuple[str, ...]) -> None:
    """Benchmark counterfactual explanations and visual attribution in medical imaging.

    A suite (a YAML file) crosses generators, attribution methods, judges and metrics over datasets. Results are kept
    and re-used; every number in the tables has an interval, or a reason why it is missing.
    """


def main() -> None:
    """Run the command line; errors that a person can mend are one message and exit code 2."""
    sys.exit(_guarded(lambda: cli.main(standalone_mode=False)))


def _guarded(call: Callable[[], Any]) -> int:
    try:
        code = call()
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("cfbench: stopped; the same command goes on where it was", err=True)
        return 130
    except (click.ClickException, CfbenchError, OSError) as error:
        return _told(error)
    return code if isinstance(code, int) else 0


def _told(error: Exception) -> int:
    """Print an error that a person can mend, and return the exit code."""
    if isinstance(error, BrokenPipeError):
        return 141
    if isinstance(error, click.ClickException):
        error.show()
    elif isinstance(error, OSError):
        click.echo(f"cfbench: {error.filename or 'a file'}: {error.strerror or error}", err=True)
    else:
        click.echo(f"cfbench: {error}", err=True)
    return 2
