"""A few cases of a cell as a table of pictures, which MLflow's user interface shows side by side over cells.

One picture per case holds what belongs together, with captions: input, answer, difference, truth. The format is that
of MLflow's own `log_table`, which would store each picture twice and ask the server thrice per table.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cfbench.records import Cell
from cfbench_mlflow.entries import value

if TYPE_CHECKING:
    from PIL.Image import Image

#: The static site is the place for all of them.
CASES = 6
TABLE = "gallery.json"
#: From left to right; a reconstruction is shown where no counterfactual was asked for.
ROLES = ("input", "reconstruction", "counterfactual", "difference", "attribution", "truth")
#: Height of every tile and its caption, and the space between tiles, in pixels.
_HEIGHT, _CAPTION, _GAP = 96, 20, 4
_MOST_BYTES, _MOST_SIDE = 8 * 2**20, 8192


@dataclass(frozen=True)
class Gallery:
    """What may be shown of a run, by cell."""

    folder: Path
    items: Mapping[Cell, Sequence[Mapping[str, Any]]]
    figures: Mapping[Cell, Sequence[Path]]


def read_gallery(folder: Path, about: Mapping[str, Any]) -> Gallery:
    """Read what a run folder shows; `about` is its `run.json`.

    A cell's pictures are public if its entry says so, and `run.json` does not say otherwise of its dataset. What is
    missing or broken shows nothing.
    """
    closed = _closed_datasets(about)
    cells = _entries(folder / "gallery" / "index.json", "cells", closed)
    drawn = _entries(folder / "figures" / "index.json", "figures", closed)
    items = {cell: [item for c in found for item in _list(c.get("items"))] for cell, found in cells.items()}
    figures = {cell: _files(folder / "figures", found) for cell, found in drawn.items()}
    return Gallery(folder / "gallery", items, figures)


def write_table(gallery: Gallery, cell: Cell, out: Path) -> bool:
    """Write `gallery.json` and its pictures into a folder; nothing, and False, if there are none."""
    rows: list[Mapping[str, Any]] = []
    for item in gallery.items.get(cell, ()):
        strip = _strip(gallery.folder, item) if len(rows) < CASES else None
        if strip is not None:
            file = f"gallery/{len(rows):02d}.png"
            (out / "gallery").mkdir(exist_ok=True)
            strip.save(out / file, compress_level=1)
            rows.append(_row(item, {"type": "image", "filepath": file, "compressed_filepath": file}))
    if not rows:
        return False
    # MLflow lines up rows by the first column, and compares the one that is called `output` over cells.
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = {"columns": columns, "data": [[row.get(name, "") for name in columns] for row in rows]}
    (out / TABLE).write_text(json.dumps(table), encoding="utf-8")
    return True


def _closed_datasets(about: Mapping[str, Any]) -> frozenset[str]:
    """Return the datasets of which `run.json` says that they may not be redistributed."""
    stated = about.get("datasets")
    told = stated.items() if isinstance(stated, Mapping) else ()
    return frozenset(name for name, v in told if isinstance(v, Mapping) and v.get("redistributable") is False)


def _entries(index: Path, key: str, closed: frozenset[str]) -> dict[Cell, list[Mapping[str, Any]]]:
    """Return the public entries of an index by cell; none if it cannot be read."""
    names = [field.name for field in fields(Cell)]
    found: dict[Cell, list[Mapping[str, Any]]] = {}
    try:
        for entry in json.loads(index.read_text(encoding="utf-8"))[key]:
            if entry.get("public") is True and entry["dataset"] not in closed:
                found.setdefault(Cell(**{name: entry[name] for name in names}), []).append(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return found


def _files(folder: Path, entries: Iterable[Mapping[str, Any]]) -> list[Path]:
    """Return the figures that were drawn; an entry names a file of this folder, whatever it says."""
    names = dict.fromkeys(PurePosixPath(str(entry.get("file"))).name for entry in entries if not entry.get("reason"))
    paths = [folder / name for name in names if name.endswith(".png")]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def _list(found: object) -> list[Mapping[str, Any]]:
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _row(item: Mapping[str, Any], picture: Mapping[str, str]) -> dict[str, Any]:
    grade, target = (_short(item.get(name)) for name in ("grade", "target"))
    case = f"{_short(item.get('id'))}, {grade or 'no grade'}" + (f" to {target}" if target else "")
    numbers = item.get("numbers")
    told = numbers.items() if isinstance(numbers, Mapping) else ()
    row = {"case": case, "output": picture, "status": _short(item.get("status")), "grade": grade, "target": target}
    return row | {name: _short(v) for raw, v in told if (name := _short(raw)) not in row}


def _short(fact: object) -> str:
    """Return a fact in few characters; whole numbers without `.0`."""
    if fact is None:
        return ""
    return f"{fact:.6g}" if isinstance(fact, float) else value(fact)[:100]


def _strip(gallery: Path, item: Mapping[str, Any]) -> "Image | None":
    """Return a case's pictures side by side with captions; None without its input."""
    named = item.get("images")
    images = {role: _picture(gallery, str(named.get(role) or "")) for role in ROLES} if isinstance(named, dict) else {}
    if images.get("input") is None:
        return None
    if images["counterfactual"] is not None:
        images["reconstruction"] = None
    return _joined({role: image for role, image in images.items() if image is not None})


def _joined(images: "Mapping[str, Image]") -> "Image":
    from PIL import Image, ImageDraw

    tiles = {role: _scaled(image) for role, image in images.items()}
    width = sum(tile.width + _GAP for tile in tiles.values()) - _GAP
    # MLflow centres a picture in a square of which a row of its table shows the upper half.
    strip = Image.new("RGB", (width, max(width, _HEIGHT + _CAPTION)), "white")
    draw, font, left = ImageDraw.Draw(strip), _font(), 0
    for role, tile in tiles.items():
        draw.text((left, 2), role, fill="black", font=font)
        strip.paste(tile, (left, _CAPTION))
        left += tile.width + _GAP
    return strip


@cache
def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=_CAPTION - 6)


def _scaled(image: "Image") -> "Image":
    """Return it at the height of a tile: enlarged by whole pixels' shapes, reduced smoothly."""
    from PIL.Image import Resampling

    width = max(min(round(image.width * _HEIGHT / image.height), 4 * _HEIGHT), 1)
    return image.resize((width, _HEIGHT), Resampling.NEAREST if image.height < _HEIGHT else Resampling.BOX)


def _picture(gallery: Path, relative: str) -> "Image | None":
    """Return a picture; None unless it is a PNG file of a sensible size that lies in the gallery."""
    from PIL import Image

    if not relative.endswith(".png") or ".." in PurePosixPath(relative).parts:
        return None
    try:
        path = (gallery / relative).resolve(strict=True)
        if not path.is_relative_to(gallery.resolve()) or not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        with Image.open(path, formats=["PNG"]) as image:
            return image.convert("RGB") if max(image.size) <= _MOST_SIDE else None
    except (OSError, ValueError, Image.DecompressionBombError, SyntaxError):
        return None


def logged_tables(names: Sequence[str]) -> str:
    """Return the tag by which MLflow's user interface finds tables among a run's files."""
    return json.dumps([{"path": name, "type": "table"} for name in names])
