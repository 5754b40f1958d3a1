"""The command line."""

from cfbench.cli.main import main as main
