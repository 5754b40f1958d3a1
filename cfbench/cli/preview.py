"""`cfbench data preview`: a contact sheet, to look at before a night on a GPU."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cfbench.cli.datasets import build_dataset
from cfbench.cli.main import registry_of
from cfbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw

    from cfbench.protocols import Cases
    from cfbench.specs import DatasetInfo

#: Colours of the outlines of masks, in the order of their names.
_COLOURS = ((255, 64, 64), (64, 224, 64), (64, 144, 255), (255, 208, 0), (255, 64, 255), (0, 224, 224))
_HEADING, _CAPTION, _GAP = 22, 26, 4


@dataclass(frozen=True)
class Strip:
    """One line of the sheet: some cases of a class."""

    title: str
    cases: "Cases"
    index: list[int]


@click.command()
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where the PNG goes [NAME.png].")
@click.option("--split", type=click.Choice(["train", "valid", "test"]), default="train", show_default=True)
@click.option("--label", help="Only the classes of this label [all].")
@click.option("--count", type=click.IntRange(1, 24), default=8, show_default=True, help="Cases per class.")
@click.option("--side", type=click.IntRange(32, 512), default=144, show_default=True, help="Pixels of a picture.")
@click.pass_context
def preview(
    ctx: click.Context,
    name: str,
    settings: tuple[str, ...],
    out: Path | None,
    split: str,
    label: str | None,
    count: int,
    side: int,
) -> int:
    """Draw a contact sheet of the dataset NAME: a line per class, masks outlined, the middle slice of volumes.

    The sheet shows the dataset's images as they are: keep those of gated sets to yourself.

    \b
      cfbench data preview vertebra-phantom --out bones.png
      cfbench data preview idrid root=/data/idrid size=256 --label grade
    """
    dataset, info = build_dataset(registry_of(ctx), name, settings)
    if not info.images:
        raise click.UsageError(f"{name} has no images, only codes")
    if label is not None and label not in info.labels:
        raise click.UsageError(f"{name} has no label {label!r} (it has {', '.join(info.labels) or 'none'})")
    strips = list(_strips(dataset.cases(split), info, [label] if label else list(info.labels), count))
    path = out or Path(f"{name}.png")
    _sheet(f"{name}, {split}", strips, info, count, side).save(path)
    click.echo(f"{path}: {len(strips)} lines, {sum(len(s.index) for s in strips)} pictures")
    for mask, colour in zip(info.masks, _COLOURS, strict=False):
        click.echo(f"  mask {mask}: outlined in #{''.join(f'{part:02x}' for part in colour)}")
    if not info.redistributable:
        click.echo(f"  not for publication: {info.licence or 'its images may not be shown in public'}")
    return 0


def _strips(cases: "Cases", info: "DatasetInfo", labels: Sequence[str], count: int) -> Iterator[Strip]:
    """Yield a line per class of each label, and three along each measurement."""
    if not labels:
        yield Strip(f"all ({len(cases)})", cases, _drawn(cases, list(range(len(cases))), count))
    for label in labels:
        values = cases.labels[label].tolist()
        for title, where in _classes(label, values, info):
            yield Strip(f"{title}  ({len(where)})", cases, _drawn(cases, where, count))


def _classes(label: str, values: list[float], info: "DatasetInfo") -> Iterator[tuple[str, list[int]]]:
    for value in info.labels[label]:
        words = info.prompts.get(label, {}).get(value, "")
        yield f"{label} {value:g}" + (f": {words}" if words else ""), [i for i, v in enumerate(values) if v == value]
    if not info.labels[label]:
        known = sorted((i for i, v in enumerate(values) if not math.isnan(v)), key=lambda i: values[i])
        third = max(1, math.ceil(len(known) / 3))
        for part in (known[i : i + third] for i in range(0, len(known), third)):
            yield f"{label} {values[part[0]]:g} to {values[part[-1]]:g}", part


def _drawn(cases: "Cases", where: list[int], count: int) -> list[int]:
    """Return some of the cases, drawn by the hash of their ids: nobody picks by looks."""
    return sorted(where, key=lambda i: sha256(cases.ids[i].encode()).digest())[:count]


def _sheet(title: str, strips: Sequence[Strip], info: "DatasetInfo", count: int, side: int) -> "Image.Image":
    from PIL import Image, ImageDraw

    # A class without cases is a heading alone: twenty empty lines would hide the others.
    heights = [_HEADING + (side + _CAPTION if strip.index else 0) for strip in strips]
    *tops, bottom = accumulate(heights, initial=_HEADING)
    sheet = Image.new("RGB", (count * (side + _GAP) + _GAP, bottom), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 4), title, fill=(255, 255, 255))
    for top, strip in zip(tops, strips, strict=True):
        draw.text((_GAP, top + 4), strip.title[: count * side // 6], fill=(255, 216, 128))
        for column, picture in enumerate(_pictures(strip, info, side)):
            left = _GAP + column * (side + _GAP)
            sheet.paste(picture, (left, top + _HEADING))
            _caption(draw, left, top + _HEADING + side, strip.cases, strip.index[column], side)
    return sheet


def _caption(draw: "ImageDraw.ImageDraw", left: int, top: int, cases: "Cases", case: int, side: int) -> None:
    letters = max(4, side // 6)
    name, patient = cases.ids[case], cases.patients[case]
    draw.text((left, top), name[-letters:], fill=(192, 192, 192))
    if patient != name:
        draw.text((left, top + 11), f"patient {patient}"[-letters:], fill=(128, 128, 128))


def _pictures(strip: Strip, info: "DatasetInfo", side: int) -> Iterator["Image.Image"]:
    if not strip.index:
        return
    batch: Any = strip.cases.batch(strip.index)
    if batch.x is None:
        raise DataError(f"case {batch.ids[0]} has no image")
    for i in range(len(batch)):
        masks = [batch.masks[name][i, 0].numpy() if name in batch.masks else None for name in info.masks]
        yield _picture(batch.x[i].numpy(), masks, side)


def _picture(x: "np.ndarray", masks: Sequence["np.ndarray | None"], side: int) -> "Image.Image":
    """Return one case, enlarged without smoothing; of a volume its middle slice, or the one with most of a mask."""
    import numpy as np
    from PIL import Image

    there = [mask for mask in masks if mask is not None and mask.any()]
    if x.ndim == 4:
        cut = int(np.argmax(there[0].sum((1, 2)))) if there else x.shape[1] // 2
        x, masks = x[:, cut], [mask[cut] if mask is not None else None for mask in masks]
    scale = side / max(x.shape[1:])
    size = (max(1, round(x.shape[2] * scale)), max(1, round(x.shape[1] * scale)))
    planes = np.repeat(x, 3, 0) if x.shape[0] == 1 else x
    pixels = (np.clip(planes, 0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0)
    picture = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)).copy()
    # The first mask comes last, so that a whole that holds its parts (tumour, edema) does not hide their outlines.
    for mask, colour in reversed(list(zip(masks, _COLOURS, strict=False))):
        if mask is not None and mask.any():
            picture[_outline(np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)))] = colour
    return Image.fromarray(picture)


def _outline(mask: "np.ndarray") -> "np.ndarray":
    """Return the pixels of a mask that touch its outside."""
    import numpy as np

    padded = np.pad(mask, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask & ~inside)
