import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cfbench.assets import locate, state
from cfbench.errors import ChecksumError, DataError
from cfbench.protocols import ReportingDataset
from cfbench_medmnist import dataset, table
from cfbench_medmnist.dataset import MedMNIST, to_images
from cfbench_medmnist.plugin import cfbench_datasets
from cfbench_medmnist.table import ARCHIVES, BREAST, RETINA, Archive, Params

SPLITS = {"train": "train", "valid": "val", "test": "test"}
NAMES = [archive.name for archive in ARCHIVES]


@pytest.fixture(scope="session")
def official():
    folder = os.environ.get("CFBENCH_TEST_DATA")
    if not folder:
        pytest.skip("CFBENCH_TEST_DATA is not set: it names the folder with medmnist/*.npz, the official files")
    return Path(folder) / "medmnist"


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # medmnist makes ~/.medmnist when it is imported
        return pytest.importorskip("medmnist.info").INFO


# --- the table against the medmnist package ------------------------------------------------------------------------


@pytest.mark.parametrize("archive", ARCHIVES, ids=NAMES)
def test_table_is_that_of_the_medmnist_package(archive, published):
    info = published[archive.name]
    assert archive.counts == tuple(info["n_samples"][part] for part in SPLITS.values())
    assert archive.channels == info["n_channels"]
    assert len(archive.values) == len(info["label"])
    assert info["license"] == table.LICENCE
    sizes = {28: ""} | {int(key[4:]): key[3:] for key in info if re.fullmatch(r"MD5_\d+", key)}
    assert archive.md5 == {size: info["MD5" + suffix] for size, suffix in sizes.items()}
    for size, suffix in sizes.items():
        assert archive.asset(Params(size=size)).url == info["url" + suffix]


def test_every_binary_or_ordinal_set_is_offered(published):
    wanted = {name for name, info in published.items() if info["task"] in ("binary-class", "ordinal-regression")}
    assert {spec.name for spec in cfbench_datasets()} == wanted


# --- what is known without the file --------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", cfbench_datasets(), ids=NAMES)
def test_offer_describes_every_size_and_names_a_factory(spec, monkeypatch, tmp_path):
    monkeypatch.setenv("CFBENCH_HOME", str(tmp_path))
    module, name = spec.factory.split(":")
    assert module == dataset.__name__
    seen = set()
    for size in (28, 64):
        info = spec.describe(spec.params(size=size))
        assert info.space == (size,) * spec.dims[0]
        assert not info.patients
        assert info.assets[0].checksum in info.fingerprint
        assert state(info.assets[0]) == "missing"
        seen.add((info.fingerprint, info.assets[0].name))
        with pytest.raises(
            DataError, match=f"{info.assets[0].name} is not at .*: type `cfbench data fetch {name} size={size}`"
        ):
            getattr(dataset, name)(spec.params(size=size)).cases("test")
    assert len(seen) == 2


@pytest.mark.parametrize(("name", "size"), [("retinamnist", 32), ("adrenalmnist3d", 128), ("breastmnist", 0)])
def test_a_size_that_is_not_published_is_refused_before_anything_is_read(name, size):
    spec = next(s for s in cfbench_datasets() if s.name == name)
    with pytest.raises(DataError, match=f"{name}: size is {size}, but it is published in sizes 28, 64"):
        spec.describe(Params(size=size))
    with pytest.raises(DataError, match=f"size is {size}"):
        getattr(dataset, name)(Params(size=size))


def test_root_names_the_place_and_nothing_else_changes(tmp_path):
    here, cache = RETINA.describe(Params(root=str(tmp_path))), RETINA.describe(Params())
    assert locate(here.assets[0]) == tmp_path / "retinamnist.npz"
    assert here.fingerprint == cache.fingerprint
    assert replace(here.assets[0], root=None) == cache.assets[0]


# --- generated files: what a file must be --------------------------------------------------------------------------


def arrays(**changes):
    """A tiny archive: 6 + 3 + 4 RGB images of 28 x 28."""
    rng = np.random.default_rng(0)
    made = {}
    for part, count in {"train": 6, "val": 3, "test": 4}.items():
        made[f"{part}_images"] = rng.integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
        made[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None] % 5
    return made | changes


def written(folder, contents, **changes):
    """Write the arrays as tiny.npz; return the archive that declares exactly this file, and its parameters."""
    path = folder / "tiny.npz"
    np.savez(path, **contents)
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    archive = Archive(
        **({"name": "tiny", "summary": "", "label": "grade", "values": RETINA.values, "channels": 3} | changes),
        counts=(6, 3, 4),
        md5={28: md5},
    )
    return archive, Params(root=str(folder))


@pytest.mark.parametrize("split", SPLITS)
def test_images_and_labels_are_those_of_the_file(tmp_path, split):
    contents = arrays()
    cases = MedMNIST(*written(tmp_path, contents)).cases(split)
    pixels = contents[f"{SPLITS[split]}_images"]
    assert cases.ids == tuple(f"{split}-{i:04d}" for i in range(len(pixels)))
    assert cases.patients == cases.ids
    assert len(cases) == len(pixels)
    assert cases.labels["grade"].tolist() == [i % 5 for i in range(len(pixels))]
    batch = cases.batch([2, 0])
    assert batch.ids == batch.patients == (f"{split}-0002", f"{split}-0000")
    assert batch.labels["grade"].tolist() == [2.0, 0.0]
    assert batch.x.dtype == torch.float32
    expected = np.moveaxis(pixels[[2, 0]].astype(np.float64) / 255, -1, 1)
    np.testing.assert_allclose(batch.x.numpy(), expected, rtol=0, atol=1e-7)
    batch.x.zero_()  # what a caller does to a batch must not reach the next one
    np.testing.assert_allclose(cases.batch([2, 0]).x.numpy(), expected, rtol=0, atol=1e-7)
    assert len(cases.batch([])) == 0


def test_pixels_cover_zero_to_one_and_grey_images_gain_a_channel():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    x = to_images(pixels, 1)
    assert x.shape == (1, 1, 16, 16)
    assert (x.min().item(), x.max().item()) == (0.0, 1.0)
    assert torch.equal((x * 255).round().to(torch.uint8)[:, 0], torch.from_numpy(pixels))
    assert to_images(pixels.reshape(1, 4, 8, 8), 1).shape == (1, 1, 4, 8, 8)


def test_the_code_of_breastmnist_is_turned_round(tmp_path, published):
    assert published["breastmnist"]["label"]["0"] == "malignant"
    contents = {name: array[..., 0] if "images" in name else array % 2 for name, array in arrays().items()}
    archive, params = written(tmp_path, contents, label=BREAST.label, values=BREAST.values, channels=1)
    cases = MedMNIST(archive, params).cases("train")
    assert torch.equal(cases.labels["malignant"], 1 - torch.from_numpy(contents["train_labels"][:, 0]).float())
    assert BREAST.describe(Params()).labels == {"malignant": (0.0, 1.0)}


@pytest.mark.parametrize(
    ("field", "array"),
    [
        ("test_images", np.zeros((4, 28, 28, 3), dtype=np.float32)),
        ("test_images", np.zeros((4, 28, 28), dtype=np.uint8)),
        ("test_images", np.zeros((4, 64, 64, 3), dtype=np.uint8)),
        ("test_images", np.zeros((5, 28, 28, 3), dtype=np.uint8)),
        ("test_labels", np.zeros((4,), dtype=np.uint8)),
        ("test_labels", np.zeros((4, 1), dtype=np.int64)),
        ("test_labels", np.zeros((3, 1), dtype=np.uint8)),
        ("test_labels", np.full((4, 1), 5, dtype=np.uint8)),
    ],
)
def test_fields_that_are_not_as_published_are_named(tmp_path, field, array):
    source = MedMNIST(*written(tmp_path, arrays(**{field: array})))
    with pytest.raises(DataError, match=rf"tiny\.npz, {field}: expected .*, found"):
        source.cases("test")
    assert len(source.cases("valid")) == 3


def test_a_missing_field_and_a_pickled_one_are_data_errors(tmp_path):
    contents = arrays(val_labels=np.array([[{"any": "object"}]] * 3, dtype=object))
    del contents["test_labels"]
    source = MedMNIST(*written(tmp_path, contents))
    with pytest.raises(DataError, match="test_labels"):
        source.cases("test")
    with pytest.raises(DataError, match="allow_pickle=False"):
        source.cases("valid")


def test_a_file_that_is_no_archive_is_a_data_error(tmp_path):
    archive, params = written(tmp_path, arrays())
    (tmp_path / "tiny.npz").write_bytes(b"<html>not found</html>")
    md5 = hashlib.md5(b"<html>not found</html>", usedforsecurity=False).hexdigest()
    with pytest.raises(DataError, match=r"tiny\.npz cannot be read as the official file"):
        MedMNIST(replace(archive, md5={28: md5}), params).cases("test")


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(DataError, match="no split 'val'; expected one of train, valid, test"):
        MedMNIST(*written(tmp_path, arrays())).cases("val")


def test_the_file_is_verified_once_and_again_when_it_has_changed(tmp_path, monkeypatch):
    archive, params = written(tmp_path, arrays())
    asked = []
    verify = dataset.verify
    monkeypatch.setattr(dataset, "verify", lambda path, checksum: (asked.append(path), verify(path, checksum))[1])
    for split in (*SPLITS, *SPLITS):
        MedMNIST(archive, params).cases(split)
    assert len(asked) == 1
    path = tmp_path / "tiny.npz"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChecksumError, match=re.escape(str(path))):
        MedMNIST(archive, params).cases("train")


def test_a_missing_file_in_the_users_folder_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"breastmnist_64\.npz is not at .*put the file of https.*leave `root` empty"):
        dataset.breastmnist(Params(size=64, root=str(tmp_path))).cases("test")


# --- the official files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["half", "last byte", "one bit"])
def test_an_official_file_that_is_damaged_is_refused(official, tmp_path, cut):
    content = bytearray((official / "adrenalmnist3d.npz").read_bytes())
    if cut == "one bit":
        content[len(content) // 2] ^= 1
    else:
        content = content[: len(content) // 2 if cut == "half" else -1]
    (tmp_path / "adrenalmnist3d.npz").write_bytes(content)
    with pytest.raises(ChecksumError, match="bbd3c5a5576322bc4cdfea780653b1ce"):
        dataset.adrenalmnist3d(Params(root=str(tmp_path))).cases("test")


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", ["retinamnist", "pneumoniamnist", "adrenalmnist3d"])
def test_official_files_give_what_the_medmnist_package_gives(official, published, name, split):
    medmnist = pytest.importorskip("medmnist")
    reference = getattr(medmnist, published[name]["python_class"])(split=SPLITS[split], root=str(official), size=28)
    cases = getattr(dataset, name)(Params(root=str(official))).cases(split)
    assert len(cases) == len(reference)
    (label,) = cases.labels
    np.testing.assert_array_equal(cases.labels[label].numpy(), reference.labels[:, 0].astype(np.float32))
    index = [0, 7, len(cases) - 1]
    for x, i in zip(cases.batch(index).x, index, strict=True):
        image = np.asarray(reference[i][0])  # 2D: a PIL image, 3D: [1, d, h, w] in [0, 1]
        image = image if image.ndim == 4 else np.moveaxis(np.atleast_3d(image), -1, 0) / 255
        np.testing.assert_allclose(x.numpy(), image, rtol=0, atol=1e-7)


def test_official_grades_of_retinamnist_are_counted_as_published(official):
    counts = {
        split: torch.bincount(dataset.retinamnist(Params(root=str(official))).cases(split).labels["grade"].long())
        for split in SPLITS
    }
    assert {split: c.tolist() for split, c in counts.items()} == {
        "train": [486, 128, 206, 194, 66],
        "valid": [54, 12, 28, 20, 6],
        "test": [174, 46, 92, 68, 20],
    }


@pytest.mark.parametrize("archive", [a for a in ARCHIVES if a.bytes], ids=lambda a: a.name)
def test_declared_bytes_are_those_of_the_official_file(official, archive):
    assert state(archive.asset(Params(root=str(official)))) == "present"


def test_the_papers_test_cases_are_the_official_validation_images(official):
    plain, paper = (dataset.retinamnist(Params(root=str(official), test=test)) for test in ("test", "val"))
    for split, other in (("train", "train"), ("valid", "test"), ("test", "valid")):
        assert paper.cases(split).ids == plain.cases(other).ids
    assert RETINA.describe(Params(test="val")).fingerprint != RETINA.describe(Params()).fingerprint


def test_official_grades_stand_beside_the_papers(official):
    for test in ("test", "val"):
        retina = MedMNIST(RETINA, Params(root=str(official), test=test))
        assert isinstance(retina, ReportingDataset)
        checked, counted = retina.report()
        assert "as published" in checked
        assert counted.startswith("grade, official train and val: 0: 540 (paper 540)")
        assert counted.endswith("; as published")


def test_every_class_has_words():
    for spec in cfbench_datasets():
        (label,) = spec.describe(Params()).prompts
        words = spec.describe(Params()).prompts[label]
        assert len(set(words.values())) == len(words) == len(spec.describe(Params()).labels[label])
