"""What `--help` shows, of every verb."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from cfbench.cli.main import cli


def verbs(command: click.Command, context: click.Context, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from verbs(inner, click.Context(inner, info_name=name, parent=context), (*path, name))


ALL = sorted(verbs(cli, click.Context(cli, info_name="cfbench")))


def test_all_verbs_are_found():
    assert {("run",), ("data", "check"), ("doctor", "metrics"), ("leaderboard", "build"), ("dae", "convert")} <= set(
        ALL
    )


@pytest.mark.parametrize("path", ALL, ids=lambda path: " ".join(("cfbench", *path)))
def test_help_says_what_a_verb_does_and_keeps_its_lines(path):
    done = CliRunner().invoke(cli, [*path, "--help"])
    assert done.exit_code == 0
    assert done.output.startswith("Usage: ")
    assert "\\b" not in done.output
    assert "\b" not in done.output
    # Examples stay on lines of their own.
    examples = [line for line in done.output.splitlines() if line.startswith("    cfbench ")]
    assert all(line.count("  cfbench ") == 1 for line in examples)
