"""Images that people keep as files: read within limits, put into a window, brought to one size."""

import io
import struct
import zlib
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Shaped
from PIL import Image, ImageOps

from cfbench.errors import DataError, NotFiniteError

#: Bytes of a file, and pixels that it may unpack to: checked before anything is decoded.
MOST_BYTES = 1 << 28
MOST_PIXELS = 80_000_000
#: Decoders that are used; others (PostScript, PDF, ...) run too much code for files of strangers.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "PPM")
_GREY = frozenset({"1", "L", "LA", "I;16", "I;16B", "I;16L", "I", "F"})
_COLOUR = frozenset({"RGB", "RGBA", "P", "CMYK", "YCbCr"})
#: Tag of TIFF files; 0 there means that 0 is white, as MONOCHROME1 does in DICOM.
_PHOTOMETRIC = 262


#: What decoders raise for files that are damaged or too large; a warning is one where warnings are errors.
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    struct.error,
    zlib.error,
    MemoryError,
    Warning,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Geometry:
    """How an image of any size becomes one of `size` x `size` pixels."""

    size: int
    #: `pad`: to a square with black; `crop`: the square in the middle; `stretch`: the sides no longer in proportion.
    fit: Literal["pad", "crop", "stretch"] = "pad"

    def apply(self, image: Image.Image, resample: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
        """Return the image at the new size; smaller ones by area (antialiased)."""
        width, height = image.size
        if self.fit == "pad" and width != height:
            side = max(width, height)
            square = Image.new(image.mode, (side, side))
            square.paste(image, ((side - width) // 2, (side - height) // 2))
            image = square
        elif self.fit == "crop" and width != height:
            side = min(width, height)
            left, top = (width - side) // 2, (height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        return image if image.size == (self.size, self.size) else image.resize((self.size, self.size), resample)


@dataclass(frozen=True)
class Read:
    """A file that was read."""

    image: Image.Image
    #: Width and height as the file has them, before any reduction.
    size: tuple[int, int]
    #: SHA-256 of the file's bytes, in hex.
    digest: str


def read_image(path: Path, channels: int, where: str, *, around: int = 0) -> Read:
    """Read an image file as grey (mode L; I;16, I or F if it has more than 8 bits) or as RGB.

    Turned as its Exif orientation says; transparency is dropped. A 16-bit TIFF in which 0 is white is inverted (8-bit
    ones are so by the decoder).

    Args:
        path: the file.
        channels: 1 or 3. A colour file is converted to grey by luminance; a grey one has three equal channels.
        where: the row that names it, for messages.
        around: side in pixels that the caller wants in the end; a larger JPEG is decoded at a half, a quarter or an
            eighth as long as twice this is left. 0 = as it is.

    Raises:
        DataError: it is missing, truncated, no image of a known kind, too large, or has several pages.
    """
    data = _bytes(path, where)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            size = image.size
            _check_size(image, path, where)
            if around:
                image.draft(None, (2 * around, 2 * around))
            image.load()
            inverted = image.format == "TIFF" and image.mode.startswith("I;16") and _white_is_zero(image)
            upright = ImageOps.exif_transpose(image)
            return Read(_converted(upright, channels, inverted, path, where), size, sha256(data).hexdigest())
    except DataError:
        raise
    except _DAMAGED as e:
        raise DataError(f"{where}: {path} cannot be read as an image ({e}): is it truncated?") from e


def _bytes(path: Path, where: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{where}: {path} has {size:,} bytes; images of at most {MOST_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{where}: {path} cannot be read: {error.strerror}") from error


def _check_size(image: Image.Image, path: Path, where: str) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{where}: {path} unpacks to {width} x {height} pixels; images of at most {MOST_PIXELS:,} are read"
        )
    if getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{where}: {path} has {image.n_frames} pages; expected one image")  # type: ignore[attr-defined]


def _white_is_zero(image: Image.Image) -> bool:
    return image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]


def _converted(image: Image.Image, channels: int, inverted: bool, path: Path, where: str) -> Image.Image:
    if image.mode not in _GREY | _COLOUR:
        raise DataError(f"{where}: {path} has pixels of the kind {image.mode}, which are not read")
    if channels == 3:
        if image.mode in _GREY - {"1", "L", "LA"}:
            raise DataError(f"{where}: {path} is grey with more than 8 bits; expected colour: set `channels: 1`")
        return image.convert("RGB")
    if image.mode in _COLOUR or image.mode in {"1", "LA"}:
        return image.convert("L")
    if inverted:
        return Image.fromarray(np.uint16(65535) - np.asarray(image, dtype=np.uint16))
    return image


def to_stored(
    read: Read,
    geometry: Geometry,
    where: str,
    window: tuple[float, ...] = (),
    *,
    inverted: bool = False,
    bits: Literal[8, 16] = 16,
) -> Shaped[np.ndarray, "c h w"]:
    """Return an image as it is stored: uint16, where 65535 is 1 (8-bit values map to it exactly), or uint8.

    Args:
        read: the file.
        geometry: the size.
        where: the row that names it, for messages.
        window: the values that become 0 and 1, outside of which is cut; none = the whole range of 8 or 16 bits.
        inverted: whether 0 is white (MONOCHROME1): turned round inside the window.
        bits: of the result.

    Raises:
        DataError: the window is impossible, or the file has 32 bits and there is none.
        NotFiniteError: a pixel is NaN or infinite.
    """
    image = read.image
    if not window and image.mode in {"L", "RGB"}:
        return _whole(geometry.apply(ImageOps.invert(image) if inverted else image), bits)
    low, high = _window(image, window, where)
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise NotFiniteError(f"{where}: the image holds NaN or infinity")
    share = np.clip((values - low) / (high - low), 0, 1)
    share = 1 - share if inverted else share
    planes = share[..., None] if share.ndim == 2 else share
    sized = [np.asarray(geometry.apply(Image.fromarray(planes[..., c]))) for c in range(planes.shape[2])]
    kind = np.uint8 if bits == 8 else np.uint16
    return np.round(np.clip(np.stack(sized), 0, 1) * np.iinfo(kind).max).astype(kind)


def _whole(image: Image.Image, bits: int) -> Shaped[np.ndarray, "c h w"]:
    pixels = (
        np.asarray(image) if bits == 8 else np.asarray(image, dtype=np.uint16) * np.uint16(257)
    )  # 255 * 257 = 65535
    return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))


def _window(image: Image.Image, window: tuple[float, ...], where: str) -> tuple[float, float]:
    if window:
        check_window(window)
        return window[0], window[1]
    if image.mode.startswith("I;16"):
        return 0.0, 65535.0
    raise DataError(f"{where}: pixels of 32 bits have no known range: set `window: [black, white]`")


def check_window(window: tuple[float, ...]) -> None:
    """Raise DataError unless a window is empty or two ascending values."""
    if window and (len(window) != 2 or not window[0] < window[1]):
        raise DataError(f"window is {list(window)}; expected two values, black then white, such as [0, 4095]")


def read_mask(
    path: Path,
    geometry: Geometry,
    size: tuple[int, int],
    where: str,
    rule: Literal["any", "half"],
    *,
    scaled: bool = False,
) -> tuple[Bool[np.ndarray, "h w"], str]:
    """Return a mask at the new size, and the digest of its file. Every pixel that is not 0 belongs to it.

    Args:
        path: a file of a lossless format.
        geometry: as of the image.
        size: width and height of the image as its file has it.
        where: the row that names it, for messages.
        rule: a pixel of the new size is in the mask if `any` pixel under it is (small lesions survive), or if at least
            `half` of them are (organs).
        scaled: whether a mask of another size but of the same proportions (to 2 %) is taken.

    Raises:
        DataError: it cannot be read, or is of another shape than the image.
    """
    read = read_image(path, 1, where)
    if path.suffix.lower() in {".jpg", ".jpeg"}:
        raise DataError(f"{where}: mask {path} is a JPEG, whose edges are not exact; save masks as PNG")
    alike = abs(read.size[0] * size[1] - read.size[1] * size[0]) <= 0.02 * read.size[0] * size[1]
    if read.size != size and not (scaled and alike):
        raise DataError(
            f"{where}: mask {path} has {read.size[0]} x {read.size[1]} pixels, its image {size[0]} x {size[1]}; want "
            "the same"
        )
    drawn = Image.fromarray((np.asarray(read.image) != 0).astype(np.float32))
    covered = np.asarray(geometry.apply(drawn, Image.Resampling.BOX))
    return (covered > 1e-6 if rule == "any" else covered >= 0.5), read.digest
