"""Reading the events of a job while its worker appends them."""

import json
from pathlib import Path
from typing import Any


class Tail:
    """Returns the whole lines that were appended since the last look; a half-written one waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def read(self) -> list[dict[str, Any]]:
        """Return new events, oldest first."""
        try:
            with self._path.open("rb") as handle:
                handle.seek(self._position)
                data = handle.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
