from tiny import cfbench


def test_list_shows_datasets_and_weights_and_where_they_belong(tmp_path):
    done = cfbench("data", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("vertebra-phantom", "built in", "retinamnist", "to fetch", "alexnet-owt-7be5be79.pth", "codes"):
        assert words in done.stdout


def test_check_counts_cases_and_labels_of_every_split(tmp_path):
    done = cfbench("data", "check", "vertebra-phantom", "size=16", "patients=50", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("train", "valid", "test", "patients; genant 0:", "all well"):
        assert words in done.stdout


def test_check_and_fetch_read_settings_as_a_suite_does(tmp_path):
    for verb in ("check", "fetch"):
        done = cfbench("data", verb, "retinamnist", "sise=28", cwd=tmp_path)
        assert done.returncode == 2
        assert "did you mean 'size'" in done.stderr
    done = cfbench("data", "check", "retinamnist", "size=29", cwd=tmp_path)
    assert done.returncode == 2
    assert "29" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_of_a_missing_file_says_what_to_type(tmp_path):
    done = cfbench("data", "check", "retinamnist", cwd=tmp_path)
    assert done.returncode == 2
    assert "data fetch" in done.stderr


def test_real_files_are_checked(tmp_path, test_data):
    done = cfbench("data", "check", "retinamnist", f"root={test_data / 'medmnist'}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "test      400 cases, patients unknown; grade 0:174 1:46 2:92 3:68 4:20" in done.stdout
    fetched = cfbench("data", "fetch", "retinamnist", f"root={test_data / 'medmnist'}", cwd=tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    assert "checksum as published" in fetched.stdout


def test_preview_draws_a_line_per_class(tmp_path):
    from PIL import Image

    done = cfbench(
        "data", "preview", "chest-phantom", "size=32", "patients=60", "--count", 3, "--side", 40, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "chest-phantom.png: " in done.stdout
    lines = int(done.stdout.split(": ")[1].split()[0])
    with Image.open(tmp_path / "chest-phantom.png") as sheet:
        assert sheet.size == (3 * 44 + 4, lines * (22 + 40 + 26) + 22)
        pixels = sheet.convert("RGB")
    outlined = {pixels.getpixel((x, y)) for x in range(pixels.width) for y in range(pixels.height)}
    assert (255, 64, 64) in outlined  # masks are outlined


def test_preview_says_what_it_cannot_draw(tmp_path):
    done = cfbench("data", "preview", "vertebra-phantom", "size=16", "--label", "grade", cwd=tmp_path)
    assert done.returncode == 2
    assert "has no label 'grade' (it has genant" in done.stderr
    done = cfbench("data", "preview", "image-folder", cwd=tmp_path)
    assert done.returncode == 2
    assert "`root` is empty" in done.stderr


def test_real_images_are_previewed(tmp_path, test_data):
    root = f"root={test_data / 'medmnist'}"
    done = cfbench("data", "preview", "retinamnist", root, "--count", 2, "--out", "sheet.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "sheet.png: 5 lines, 10 pictures" in done.stdout


def test_classes_without_cases_are_headings_and_outlines_of_parts_lie_over_those_of_the_whole(tmp_path):
    import numpy as np
    from PIL import Image

    from cfbench.cli.preview import _COLOURS

    (tmp_path / "data").mkdir()
    grey = Image.fromarray(np.full((24, 24), 90, np.uint8))
    for i in range(3):
        grey.save(tmp_path / "data" / f"{i}.png")
    drawn = np.zeros((24, 24), np.uint8)
    drawn[4:20, 4:20] = 255
    Image.fromarray(drawn).save(tmp_path / "data" / "part.png")
    rows = "".join(f"{i}.png,{i},{'train' if i else 'test'},part.png,part.png\n" for i in range(3))
    (tmp_path / "data" / "cases.csv").write_text("file,grade,split,part,whole\n" + rows)
    settings = ["table=cases.csv", "labels=[grade]", "split=split", "masks=[part,whole]", "size=24"]
    words = ["data", "preview", "image-folder", f"root={tmp_path / 'data'}", *settings]
    done = cfbench(*words, "--side", 48, "--count", 1, "--out", "sheet.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[1] == 22 + 22 + 2 * (22 + 48 + 26)  # grade 0 has no training case
        pixels = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    first, second = (int((pixels == colour).all(axis=1).sum()) for colour in _COLOURS[:2])
    assert first
    assert not second
