"""MLflow's own server over a database, for one person on one machine."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from cfbench.errors import StoreError
from cfbench_mlflow.target import ENVIRONMENT, database

HOST = "127.0.0.1"
#: Seconds that a start may take; on a busy laptop it is about 20.
_PATIENCE = 180.0
#: Ports that are tried.
_PORTS = 20
_COMMAND = (sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", HOST)
#: One process instead of fifteen: nobody runs language models from here.
_SMALL = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextmanager
def serving(uri: str, port: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serve a sqlite database on this machine alone; yield the address, and a function that waits for Ctrl+C.

    Raises StoreError if the server does not start. It ends with the context, whatever happens.
    """
    file, base = database(uri), f"http://{HOST}:{_free(port)}"
    assert file is not None  # noqa: S101 - other stores have a server of their own
    # Only for experiments that are not ours: those of runs say where their files are.
    files = str(file.resolve().parent / "mlflow-artifacts")
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(  # noqa: S603 - our own interpreter; no shell reads it
            [
                *_COMMAND,
                "--backend-store-uri",
                uri,
                "--artifacts-destination",
                files,
                "--port",
                base.rpartition(":")[2],
            ],
            env={**ENVIRONMENT, **_SMALL, **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        before = signal.signal(signal.SIGTERM, _ended)
        try:
            _await(server, base, log.fileno())
            yield base, lambda: _wait(server)
        finally:
            signal.signal(signal.SIGTERM, before)
            _end(server)


def _free(port: int) -> int:
    """Return the first port from this one on that nobody listens on; for 0, any."""
    for candidate in range(port, port + (_PORTS if port else 1)):
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, candidate))
            found: int = probe.getsockname()[1]
            return found
    raise StoreError(f"ports {port} to {port + _PORTS - 1} are all taken; name another with --port")


def _await(server: "subprocess.Popen[bytes]", base: str, log: int) -> None:
    # A proxy of the environment knows nothing of this machine.
    opener, end = build_opener(ProxyHandler({})), time.monotonic() + _PATIENCE
    while time.monotonic() < end and server.poll() is None:
        with suppress(URLError, OSError), opener.open(f"{base}/health", timeout=5):
            return
        time.sleep(0.2)
    said = os.pread(log, 100_000, 0).decode(errors="replace").strip().splitlines()
    raise StoreError(f"MLflow's server did not start: {said[-1][:300] if said else 'it said nothing'}")


def _wait(server: "subprocess.Popen[bytes]") -> None:
    with suppress(KeyboardInterrupt):
        server.wait()


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End it and its workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(timeout=5)
            return


def _ended(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
