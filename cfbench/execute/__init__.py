"""Execution: running a plan's missing steps, and turning their results into records."""

from cfbench.execute.folder import RunFolder as RunFolder
from cfbench.execute.run import Outcome as Outcome
from cfbench.execute.run import Runner as Runner
