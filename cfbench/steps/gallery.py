"""The step that draws some cases of a cell as small pictures, so that people can look."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cfbench.steps.slices import flat, middle
from cfbench.steps.views import build_view
from cfbench.steps.work import Work
from cfbench.types import View

#: Tiles with a sign, drawn in two colours.
_SIGNED = frozenset({"difference", "exact difference"})


def gallery(work: Work) -> None:
    """Store PNG files and `items.json`: per shown line its pictures (file names) and its numbers."""
    view = build_view(work, work.payload["view"], extrapolated=True)
    items = []
    for line in _shown(view, work.payload["shown"]):
        tiles = _tiles(view, line)
        files = {name: f"{line:05d}-{name}.png" for name in tiles}
        for name, tile in tiles.items():
            _save(tile, work, files[name], signed=name in _SIGNED)
        items.append(_item(view, line, files))
    work.save_json("items.json", {"public": work.info.redistributable, "items": items})


def _shown(view: View, count: int) -> list[int]:
    """Choose whole cases evenly over the grades, and as many that failed: nobody picks by looks or hides a failure."""
    by_grade: dict[float, list[str]] = {}
    for i, case in enumerate(view.ids):
        grade = float(view.grade[i]) if view.grade is not None else 0.0
        cases = by_grade.setdefault(grade, [])
        if case not in cases:
            cases.append(case)
    chosen: list[str] = []
    for rank in range(max(map(len, by_grade.values()), default=0)):
        chosen += [by_grade[grade][rank] for grade in sorted(by_grade) if rank < len(by_grade[grade])]
    failed = dict.fromkeys(case for case, status in zip(view.ids, view.status, strict=True) if status != "ok")
    wanted = {*chosen[:count], *list(failed)[:count]}
    return [i for i, case in enumerate(view.ids) if case in wanted]


def _tiles(view: View, line: int) -> Mapping[str, Tensor]:
    assert view.x is not None  # noqa: S101 - a gallery is planned only where there are images
    at = middle([mask[line] for mask in view.masks.values()], tuple(view.x.shape[2:]))
    x, explained, ok = flat(view.x[line], at), view.name != "reconstruction", view.status[line] == "ok"
    tiles = {"input": x}
    if view.rebuilt is not None:
        tiles["reconstruction"] = flat(view.rebuilt[line], at)
    if view.x_out is not None and ok:
        answer = tiles["counterfactual" if explained else "reconstruction"] = flat(view.x_out[line], at)
        tiles["difference"] = (answer - x).mean(0, keepdim=True)
    if view.heat is not None and ok:
        tiles["attribution"] = _overlay(x, flat(view.heat[line], at), view.heat[line].abs().max())
    for name, mask in view.masks.items():
        if mask[line].any():
            tiles[f"{name} mask"] = flat(mask[line].float(), at)
    if view.truth is not None and not _beyond(view, line):
        truth = tiles["truth"] = flat(view.truth.x[line], at)
        tiles["exact difference"] = (truth - x).mean(0, keepdim=True)
    return tiles


def _beyond(view: View, line: int) -> bool:
    return view.extrapolated is not None and bool(view.extrapolated[line])


def _overlay(x: Tensor, heat: Tensor, largest: Tensor) -> Tensor:
    """Lay the positive part of a heat map in orange over the grey image, full where the map is largest."""
    grey = x.mean(0, keepdim=True)
    strength = heat.clamp(min=0) / largest.clamp(min=1e-12)
    colour = torch.tensor([1.0, 0.45, 0.0])[:, None, None]
    return grey * (1 - strength) + colour * strength


def _item(view: View, line: int, files: Mapping[str, str]) -> dict[str, Any]:
    numbers: dict[str, float] = {}
    for name, judged in view.judged.items():
        numbers[f"{name} before"] = _positive(view, judged.proba[line])
        if name in view.judged_out and view.status[line] == "ok":
            numbers[f"{name} after"] = _positive(view, view.judged_out[name].proba[line])
    if view.predicted_out.grade is not None and view.status[line] == "ok":
        numbers["method's grade after"] = float(view.predicted_out.grade[line])
    if view.x is not None and view.x_out is not None and view.status[line] == "ok":
        numbers["L1"] = float((view.x_out[line] - view.x[line]).abs().mean())
    if view.truth is not None and view.x_out is not None and view.status[line] == "ok" and not _beyond(view, line):
        numbers["L1 to the truth"] = float((view.x_out[line] - view.truth.x[line]).abs().mean())
    return {
        "id": view.ids[line],
        "patient": view.patients[line],
        "grade": _number(view.grade, line),
        "target": _number(view.target, line),
        "extrapolated": _beyond(view, line),
        "status": view.status[line],
        "images": dict(files),
        "numbers": {name: round(value, 4) for name, value in numbers.items()},
    }


def _positive(view: View, proba: Tensor) -> float:
    assert view.task is not None  # noqa: S101 - judges come with a task
    return float(sum(p for p, grade in zip(proba, view.task.grades, strict=True) if grade in view.task.positive))


def _number(values: Tensor | None, line: int) -> float | None:
    return None if values is None or torch.isnan(values[line]) else float(values[line])


def _save(tile: Tensor, work: Work, name: str, *, signed: bool) -> None:
    """Write [c, h, w] in [0, 1] as an 8-bit PNG; a signed map as blue (darker) to white to red (brighter)."""
    image = _diverging(tile[0]) if signed else tile
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)).save(work.out / name)


def _diverging(difference: Tensor) -> Tensor:
    """Colour a difference in [-1, 1]; full colour at +-0.5, the same for every image so that they compare."""
    d = (difference / 0.5).clamp(-1, 1)
    return torch.stack([1 + d.clamp(max=0), 1 - d.abs(), 1 - d.clamp(min=0)])
