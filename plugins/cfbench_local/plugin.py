"""Offers the `local` executor."""

from collections.abc import Iterable
from dataclasses import dataclass

from cfbench.hookspecs import hookimpl
from cfbench.specs import ExecutorSpec, param


@dataclass(frozen=True)
class LocalParams:
    """Parameters of the local executor."""

    cores: int = param(0, "CPU cores to use; 0 = all that this process may use")
    gpus: str = param("", "ids of the GPUs to use, such as '0,1'; one job at a time on each; '' = CPU only")


@hookimpl
def cfbench_executors() -> Iterable[ExecutorSpec]:
    """Offer the executor."""
    return [
        ExecutorSpec(
            name="local",
            factory="cfbench_local.executor:LocalExecutor",
            params=LocalParams,
            summary="worker processes on this machine, as many as cores or GPUs allow",
        )
    ]
