"""IDRiD, from a generated archive in its published layout and from the genuine photographs."""

import layouts
import numpy as np
import pytest
from layouts import everything, loaded
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter

from cfbench.errors import DataError
from cfbench_idrid.dataset import idrid
from cfbench_idrid.params import MATCHES, IdridParams, describe, listing


@pytest.fixture
def archive(tmp_path):
    return str(layouts.idrid(tmp_path / "idrid"))


def test_the_published_archive_is_read(tmp_path, archive):
    cases = everything(loaded(idrid(IdridParams(root=archive, size=28, split="official", valid=0.0)), tmp_path))
    assert {case: (facts[0], facts[2]["grade"], facts[2]["edema_risk"]) for case, facts in cases.items()} == {
        "IDRiD_001": ("train", 3, 2),
        "IDRiD_102": ("train", 2, 1),
        "IDRiD_366": ("train", 2, 2),
        "IDRiD_004": ("train", 0, 0),
        "testing/IDRiD_001": ("test", 4, 0),
        "testing/IDRiD_002": ("test", 1, 0),
    }
    drawn = {case: [name for name, mask in facts[3].masks.items() if mask.any()] for case, facts in cases.items()}
    assert drawn["IDRiD_102"] == ["MA", "EX", "SE", "OD"]  # drawn upon as number 1
    assert drawn["IDRiD_366"] == ["MA", "EX", "OD"]
    assert not any(drawn[case] for case in drawn if case not in ("IDRiD_102", "IDRiD_366"))
    assert cases["IDRiD_102"][3].x.shape == (1, 3, 28, 28)


def test_the_copy_that_was_drawn_upon_is_the_one_that_is_shown(tmp_path, archive):
    cases = everything(loaded(idrid(IdridParams(root=archive, size=42, fit="stretch")), tmp_path))
    path = f"{archive}/A. Segmentation/1. Original Images/a. Training Set/IDRiD_01.jpg"
    shown = np.asarray(Image.open(path).resize((42, 42), Image.Resampling.BILINEAR), np.float32) / 255
    assert np.abs(cases["IDRiD_102"][3].x[0].permute(1, 2, 0).numpy() - shown).max() < 0.02


def test_one_drawn_pixel_survives(tmp_path, archive):
    cases = everything(loaded(idrid(IdridParams(root=archive, size=14, part="segmentation")), tmp_path))
    assert set(cases) == {"drawn/IDRiD_01", "drawn/IDRiD_02", "drawn/IDRiD_04", "drawn/IDRiD_55"}
    assert cases["drawn/IDRiD_01"][2] == {"haemorrhages": 0, "soft_exudates": 1}
    assert cases["drawn/IDRiD_02"][2] == {"haemorrhages": 0, "soft_exudates": 0}
    soft = cases["drawn/IDRiD_01"][3].masks["SE"]
    assert 1 <= int(soft.sum()) <= 4


def test_a_photograph_that_is_there_twice_counts_once_or_not_at_all(tmp_path, archive):
    folder = f"{archive}/B. Disease Grading/1. Original Images/a. Training Set"
    from pathlib import Path

    Path(f"{folder}/IDRiD_004.jpg").write_bytes(Path(f"{folder}/IDRiD_001.jpg").read_bytes())
    dataset = loaded(idrid(IdridParams(root=archive, size=14)), tmp_path)
    assert not {"IDRiD_001", "IDRiD_004"} & set(everything(dataset))  # graded 3 and 0
    assert "IDRiD_004.jpg is the file IDRiD_001.jpg again, with other labels" in "\n".join(dataset.report())


def contrast(batch, name):
    """Return how much brighter the green of a lesion is than the ring of three pixels around it."""
    drawn, green = batch.masks[name][0, 0].numpy(), batch.x[0, 1].numpy()
    ring = binary_dilation(drawn, iterations=4) & ~binary_dilation(drawn, iterations=1)
    return float(green[drawn].mean() - green[ring].mean())


def test_the_genuine_photographs(tmp_path, test_data):
    dataset = loaded(idrid(IdridParams(root=str(test_data / "idrid"), size=192)), tmp_path)
    cases = everything(dataset)
    assert len(cases) == 413 - 8  # three pairs contradict each other, two repeat
    report = "\n".join(dataset.report())
    assert "masks: MA 44, HE 43, EX 44, SE 21, OD 44" in report
    assert "IDRiD_391.jpg is the file IDRiD_021.jpg again, with other labels" in report
    masked = [facts for facts in cases.values() if facts[3].masks["EX"].any()]
    assert (
        np.mean([contrast(f[3], "EX") > 0 for f in masked]) > 0.9
    )  # hard exudates are brighter than their surroundings
    assert np.mean([contrast(f[3], "HE") < 0 for f in masked if f[3].masks["HE"].any()]) > 0.9  # bleedings are darker
    discs = [f[3].x[0].sum(0)[f[3].masks["OD"][0, 0]].mean() / f[3].x[0].sum(0).max() for f in masked]
    assert np.mean(discs) > 0.6  # the optic disc is among the brightest
    assert all(facts[2]["grade"] >= 1 for facts in masked)  # nobody drew lesions where the grade says there are none


def test_matches_are_one_to_one_and_of_the_same_photograph(test_data):
    assert len(set(MATCHES.values())) == len(MATCHES) == 44
    root = test_data / "idrid"

    def small(path):
        """Vessels and lesions in the green channel, without the light and shade of the whole."""
        green = np.asarray(Image.open(path).resize((128, 128), Image.Resampling.BOX), dtype=float)[..., 1]
        fine = (green - gaussian_filter(green, 6))[10:-10, 10:-10]
        return ((fine - fine.mean()) / fine.std() / fine.size**0.5).ravel()

    graded = {path.stem: small(path) for path in sorted((root / "grading").glob("*.jpg"))}
    for drawn, number in MATCHES.items():
        one = small(root / "segmentation" / "images" / f"IDRiD_{drawn:02d}.jpg")
        ranked = sorted(graded, key=lambda name: -float(one @ graded[name]))
        assert ranked[0] == f"IDRiD_{number:03d}"
        assert float(one @ graded[ranked[0]]) > 0.8


def test_nothing_is_known_without_a_folder(tmp_path):
    assert "`root` is empty" in describe(IdridParams()).missing
    assert "neither layout" in describe(IdridParams(root=str(tmp_path))).missing
    with pytest.raises(DataError, match="neither layout"):
        listing(IdridParams(root=str(tmp_path)))
