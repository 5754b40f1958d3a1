"""The figures of a run, read for showing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfbench.errors import StoreError
from cfbench.leaderboard.png import Png, RefusedImageError, read_png
from cfbench.places import store_folder

_NAMES = ("task", "generator", "attribution")


@dataclass(frozen=True, kw_only=True)
class ShownFigure:
    """One figure of a cell: its picture, or the sentence that says why there is none."""

    name: str
    view: str
    dataset: str
    task: str | None
    generator: str | None
    attribution: str | None
    seed: int
    summary: str
    picture: Png | str


def read_figures(run: Path, *, private: bool = False) -> tuple[ShownFigure, ...]:
    """Read `run/figures/index.json`; no file, no figures. Raises StoreError if it is not an index of figures.

    A figure is shown only if it says `"public": true` (it shows no images, or images that may be published), or if
    `private` says that the pages are for their owner alone; such figures are read from the store.
    """
    index = run / "figures" / "index.json"
    if not index.is_file():
        return ()
    try:
        items = json.loads(index.read_text(encoding="utf-8"))["figures"]
        return tuple(_shown(run / "figures", item) for item in items if private or item.get("public") is True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{index}: not the index of figures ({error!r}); run the suite again to rewrite it") from error


def _shown(folder: Path, item: Mapping[str, Any]) -> ShownFigure:
    place = store_folder() if item.get("in_store") is True else folder
    task, generator, attribution = (None if item.get(n) is None else str(item[n]) for n in _NAMES)
    return ShownFigure(
        name=str(item["figure"]),
        view=str(item["view"]),
        dataset=str(item["dataset"]),
        task=task,
        generator=generator,
        attribution=attribution,
        seed=int(item.get("seed") or 0),
        summary=str(item.get("summary", "")),
        picture=f"nothing to draw: {item['reason']}" if item.get("reason") else _picture(place, str(item["file"])),
    )


def _picture(folder: Path, file: str) -> Png | str:
    try:
        return read_png(folder, file)
    except (RefusedImageError, OSError) as error:
        return f"not shown: {error}"
