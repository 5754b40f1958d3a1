import pytest
from board import png

from cfbench.leaderboard.png import RefusedImageError, read_png


def test_pictures_are_stripped_of_text_and_of_what_follows_them(tmp_path):
    (tmp_path / "a.png").write_bytes(png(5, 3, text=b"Patient\0Jane Doe") + b"<script>alert(1)</script>")
    picture = read_png(tmp_path, "a.png")
    assert (picture.data, picture.width, picture.height) == (png(5, 3), 5, 3)


def test_pictures_outside_the_folder_are_refused(tmp_path):
    folder = tmp_path / "gallery"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "up").symlink_to(tmp_path)
    bad = [
        "../secret.png",
        "sub/../../secret.png",
        str(tmp_path / "secret.png"),
        "link.png",
        "up/secret.png",
        "a\0.png",
    ]
    for path in [*bad, "..\\secret.png", "missing.png", "", "sub"]:
        with pytest.raises(RefusedImageError):
            read_png(folder, path)


def test_only_png_files_of_a_sensible_size_are_read(tmp_path):
    files = {
        "svg.png": b"<svg onload='alert(1)'/>",
        "cut.png": png()[:-3],
        "huge.png": png()[:16] + b"\xff" * 8 + png()[24:],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "page.html").write_bytes(png())
    (tmp_path / "folder.png").mkdir()
    for name in [*files, "page.html", "folder.png"]:
        with pytest.raises(RefusedImageError):
            read_png(tmp_path, name)
