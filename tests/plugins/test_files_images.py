"""Images of strangers: what is read keeps its values, and what would harm is refused with the row that names it."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from cfbench.errors import DataError, NotFiniteError
from cfbench_files.images import Geometry, check_window, read_image, read_mask, to_stored

WHERE = "t.csv, row 7"


def saved(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def stored(path, size, channels=1, **options):
    return to_stored(read_image(path, channels, WHERE), Geometry(size), WHERE, **options)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)


def test_eight_bits_come_out_exactly(tmp_path, noise):
    path = saved(tmp_path / "a.png", noise)
    assert (stored(path, 16, bits=8)[0] == noise).all()
    deep = stored(path, 16)[0]
    assert deep.dtype == np.uint16
    assert (deep.astype(np.float32) / 65535 == noise.astype(np.float32) / 255).all()


def test_sixteen_bits_keep_their_range(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 65536, (16, 16)).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        assert (stored(saved(tmp_path / name, pixels), 16)[0] == pixels).all()


def test_twelve_bits_fill_the_range_by_their_window(tmp_path):
    pixels = np.array([[0, 1024], [2048, 4095]], dtype=np.uint16)
    path = saved(tmp_path / "a.png", pixels)
    got = stored(path, 2, window=(0.0, 4095.0))[0] / 65535
    assert got == pytest.approx(pixels / 4095, abs=1e-5)
    cut = stored(path, 2, window=(1024.0, 2048.0))[0] / 65535
    assert cut.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("window", [(1.0,), (2.0, 1.0), (1.0, 1.0), (0.0, 1.0, 2.0)])
def test_an_impossible_window_is_refused(window):
    with pytest.raises(DataError, match="expected two values, black then white"):
        check_window(window)


def test_monochrome1_is_turned_round_inside_its_window(tmp_path, noise):
    assert (stored(saved(tmp_path / "a.png", noise), 16, inverted=True, bits=8)[0] == 255 - noise).all()
    deep = noise.astype(np.uint16) * 16
    got = stored(saved(tmp_path / "b.png", deep), 16, window=(0.0, 4080.0), inverted=True)[0] / 65535
    assert got == pytest.approx(1 - deep / 4080, abs=1e-5)


def test_a_tiff_in_which_white_is_zero_is_turned_round(tmp_path):
    pixels = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000
    saved(tmp_path / "a.tif", pixels, tiffinfo={262: 0})
    saved(tmp_path / "b.tif", pixels)
    assert (stored(tmp_path / "a.tif", 4)[0] == 65535 - pixels).all()
    assert (stored(tmp_path / "b.tif", 4)[0] == pixels).all()


def test_thirty_two_bits_need_a_window(tmp_path):
    path = saved(tmp_path / "a.tif", np.linspace(-1000, 1000, 16, dtype=np.float32).reshape(4, 4))
    with pytest.raises(DataError, match=r"t.csv, row 7: pixels of 32 bits .* set `window"):
        stored(path, 4)
    assert stored(path, 4, window=(-1000.0, 1000.0))[0, 0, 0] == 0


def test_nan_pixels_are_refused(tmp_path):
    pixels = np.zeros((4, 4), np.float32)
    pixels[1, 1] = np.nan
    with pytest.raises(NotFiniteError, match=r"t\.csv, row 7"):
        stored(saved(tmp_path / "a.tif", pixels), 4, window=(0.0, 1.0))


def bomb(width, height):
    """A PNG that says it is huge, and whose pixels would unpack to as much."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(10_000_000))), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    (tmp_path / "a.png").write_bytes(bomb(60_000, 60_000))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"t.csv, row 7: .*a.png unpacks to 60000 x 60000 pixels|decompression bomb"):
        read_image(tmp_path / "a.png", 1, WHERE)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_file_that_is_cut_anywhere_is_refused_and_never_crashes(tmp_path, noise, kind):
    buffer = io.BytesIO()
    Image.fromarray(np.tile(noise, (4, 4))).save(buffer, kind)
    whole = buffer.getvalue()
    for keep in (0, 3, 20, len(whole) // 2, int(len(whole) * 0.8)):
        (tmp_path / "a").write_bytes(whole[:keep])
        with pytest.raises(DataError, match=r"t.csv, row 7"):
            read_image(tmp_path / "a", 1, WHERE)


def test_damaged_bytes_are_an_image_or_a_clear_refusal(tmp_path, noise):
    rng = np.random.default_rng(2)
    for kind in ("PNG", "JPEG", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, kind)
        for _ in range(60):
            data = bytearray(buffer.getvalue())
            for at in rng.integers(0, len(data), 4):
                data[at] = rng.integers(0, 256)
            (tmp_path / "a").write_bytes(data)
            try:
                read_image(tmp_path / "a", 1, WHERE)
            except DataError as error:
                assert WHERE in str(error)  # noqa: PT017 - damage may also leave a readable image


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("not an image")
    (tmp_path / "b.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    for name in ("a.png", "b.eps", "missing.png"):
        with pytest.raises(DataError, match=name):
            read_image(tmp_path / name, 1, WHERE)


def test_several_pages_are_refused(tmp_path, noise):
    image = Image.fromarray(noise)
    image.save(tmp_path / "a.tif", save_all=True, append_images=[image])
    with pytest.raises(DataError, match="2 pages"):
        read_image(tmp_path / "a.tif", 1, WHERE)


def test_colour_grey_palette_and_transparency_are_read_alike(tmp_path, noise):
    grey = Image.fromarray(noise)
    for mode in ("RGB", "RGBA", "LA", "P"):
        grey.convert(mode).save(tmp_path / f"{mode}.png")
        assert (stored(tmp_path / f"{mode}.png", 16, bits=8)[0] == noise).all(), mode
        three = stored(tmp_path / f"{mode}.png", 16, channels=3, bits=8)
        assert three.shape == (3, 16, 16)
        assert (three == noise).all()
    with pytest.raises(DataError, match="more than 8 bits"):
        read_image(saved(tmp_path / "deep.png", noise.astype(np.uint16) * 9), 3, WHERE)


def test_exif_orientation_is_followed(tmp_path):
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, 8:] = 255
    exif = Image.Exif()
    exif[274] = 6  # to be turned a quarter clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png", 1, WHERE).image.size == (8, 16)


@pytest.mark.parametrize(("fit", "inside"), [("pad", (slice(2, 6), slice(None))), ("crop", None), ("stretch", None)])
def test_an_oblong_image_becomes_square(fit, inside):
    pixels = np.full((8, 16), 200, np.uint8)
    pixels[:, :4] = 0
    got = np.asarray(Geometry(8, fit).apply(Image.fromarray(pixels)))
    assert got.shape == (8, 8)
    if fit == "pad":
        assert (got[0] == 0).all()
        assert got[inside][1:3, 3:].min() > 190
    elif fit == "crop":
        assert (got == 200).all()
    else:
        assert (got[:, :2] < 60).all()
        assert (got[:, 3:] > 190).all()


def test_a_large_jpeg_is_read_quickly_and_as_the_full_decoder_would(tmp_path):
    rows, columns = np.mgrid[:1600, :2000]
    pixels = (128 + 60 * np.sin(rows / 90) + 50 * np.cos(columns / 70)).astype(np.uint8)
    path = saved(tmp_path / "a.jpg", pixels, quality=95)
    quick = read_image(path, 1, WHERE, around=128)
    assert quick.size == (2000, 1600)
    assert max(quick.image.size) < 1000
    ours = to_stored(quick, Geometry(128), WHERE)[0] / 65535
    full = to_stored(read_image(path, 1, WHERE), Geometry(128), WHERE)[0] / 65535
    assert np.abs(ours - full).mean() < 0.004


def test_masks_shrink_by_their_rule(tmp_path):
    drawn = np.zeros((32, 32), np.uint8)
    drawn[5, 5] = 255  # one pixel of sixteen
    drawn[8:12, 8:16] = 1
    drawn[16:20, 16:18] = 255  # half a cell
    path = saved(tmp_path / "m.png", drawn)
    blocks = (drawn > 0).reshape(8, 4, 8, 4).mean((1, 3))
    any_, _ = read_mask(path, Geometry(8), (32, 32), WHERE, "any")
    half, _ = read_mask(path, Geometry(8), (32, 32), WHERE, "half")
    assert (any_ == (blocks > 0)).all()
    assert (half == (blocks >= 0.5)).all()


def test_one_drawn_pixel_of_a_large_photograph_survives(tmp_path):
    drawn = np.zeros((2848, 4288), bool)
    drawn[1000, 3000] = True
    mask, _ = read_mask(saved(tmp_path / "m.png", drawn), Geometry(96), (4288, 2848), WHERE, "any")
    assert 1 <= mask.sum() <= 4


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("size", [(33, 20), (20, 33), (101, 47), (16, 16)])
def test_a_mask_lies_where_its_image_does(tmp_path, fit, size):
    """Of an image that is white where the mask is, and nowhere else: no mask in the padding, none left out."""
    drawn = np.zeros(size[::-1], np.uint8)
    drawn[size[1] // 3 :, size[0] // 4 :] = 255
    path, geometry = saved(tmp_path / "m.png", drawn), Geometry(16, fit)
    image = to_stored(read_image(path, 1, WHERE), geometry, WHERE, bits=8)[0]
    half, _ = read_mask(path, geometry, size, WHERE, "half")
    any_, _ = read_mask(path, geometry, size, WHERE, "any")
    assert half.any()
    assert image[half].min() > 64
    assert image[~any_].max(initial=0) < 64


def test_a_mask_of_another_shape_is_refused(tmp_path):
    path = saved(tmp_path / "m.png", np.ones((16, 16), np.uint8))
    with pytest.raises(DataError, match=r"row 7: mask .*m.png has 16 x 16 pixels, its image 32 x 32"):
        read_mask(path, Geometry(8), (32, 32), WHERE, "any")
    assert read_mask(path, Geometry(8), (32, 32), WHERE, "any", scaled=True)[0].all()
    with pytest.raises(DataError, match="16 x 16"):
        read_mask(path, Geometry(8), (32, 16), WHERE, "any", scaled=True)
    saved(tmp_path / "m.jpg", np.ones((16, 16), np.uint8))
    with pytest.raises(DataError, match="is a JPEG"):
        read_mask(tmp_path / "m.jpg", Geometry(8), (16, 16), WHERE, "any")


def test_the_digest_is_that_of_the_file(tmp_path, noise):
    from hashlib import sha256

    path = saved(tmp_path / "a.png", noise)
    assert read_image(path, 1, WHERE).digest == sha256(path.read_bytes()).hexdigest()
