"""Pictures of data that may not be published: never copied into a run, shown from the store to their owner alone."""

import json

import pytest
from board import png

from cfbench.execute import RunFolder
from cfbench.leaderboard.figures import read_figures
from cfbench.leaderboard.gallery import read_gallery
from cfbench.records import Cell
from cfbench.store import Store, content_key

CELL = Cell(dataset="own", task="fracture", generator="pca", attribution="flip", seed=0)
ITEM = {"id": "c1", "patient": "p1", "grade": 3, "target": 0, "status": "ok", "images": {"input": "a.png"}}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Return a function that writes a run of one gallery cell and one figure, public or not, and gives its folder."""

    def write(*, public):
        monkeypatch.setenv("CFBENCH_HOME", str(tmp_path / "home"))
        store, run = Store(tmp_path / "home" / "store"), RunFolder(tmp_path / "run")
        run.path.mkdir()
        gallery, figure = content_key("gallery", {"public": public}), content_key("figure", {"public": public})
        with store.writing(gallery, {}) as folder:
            (folder / "a.png").write_bytes(png())
            (folder / "items.json").write_text(json.dumps({"public": public, "items": [ITEM]}))
        with store.writing(figure, {}) as folder:
            (folder / "figure.png").write_bytes(png(9, 9))
            (folder / "figure.json").write_text(json.dumps({"public": public, "reason": "", "summary": "all"}))
        run.write_gallery({CELL: store.read(gallery)})
        run.write_figures({(CELL, "progression", "sweep"): store.read(figure)})
        return run.path

    return write


def shown(run, *, private):
    gallery = read_gallery(run, private=private)
    figures = [figure.picture for figure in read_figures(run, private=private)]
    return [(picture.width, picture.height) for picture in (*gallery.pictures, *figures)]


def test_public_pictures_are_part_of_the_run(written):
    run = written(public=True)
    assert len(list(run.rglob("*.png"))) == 2
    assert shown(run, private=False) == [(4, 4), (9, 9)]


def test_private_pictures_stay_in_the_store(written):
    run = written(public=False)
    assert not list(run.rglob("*.png"))
    assert shown(run, private=False) == []
    assert shown(run, private=True) == [(4, 4), (9, 9)]


def test_an_index_cannot_name_a_picture_outside_the_store(written, tmp_path):
    run = written(public=False)
    (tmp_path / "home" / "secret.png").write_bytes(png())
    index = run / "gallery" / "index.json"
    found = json.loads(index.read_text())
    found["cells"][0]["items"][0]["images"] = {"input": "../secret.png"}
    index.write_text(json.dumps(found))
    assert shown(run, private=True) == [(9, 9)]
