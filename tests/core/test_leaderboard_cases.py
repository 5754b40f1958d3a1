import json
import re

import pytest
from board import Page, gallery_cell, png, record, write_run

from cfbench.errors import StoreError
from cfbench.leaderboard.cases import PER_PAGE
from cfbench.leaderboard.site import build


@pytest.fixture
def run(tmp_path):
    """Return a function that writes a run folder."""
    return lambda *args, name="vcf", **fields: write_run(tmp_path / "runs" / name, *args, **fields)


def sheet_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page.source).group(1))


def with_scores(folder, key, **columns):
    import pyarrow as pa
    from pyarrow import parquet

    (folder / "scores").mkdir(exist_ok=True)
    parquet.write_table(pa.table(columns), folder / "scores" / f"{key}.parquet")


def test_methods_stand_side_by_side_and_a_picture_is_stored_once(run, tmp_path):
    roles = ("input", "reconstruction", "counterfactual", "difference", "truth", "exact difference", "lesion mask")
    images = {role: f"{role}.png" for role in roles}
    cells = [gallery_cell(images, attribution=name, numbers={"judge before": 0.98, "L1": 0.031}) for name in ("a", "b")]
    folder = run([record()], {"suite": "vcf"}, cells)
    for i, name in enumerate(images.values(), 1):
        (folder / "gallery" / name).write_bytes(png(i, 4))
    build([folder], tmp_path / "site")
    page = Page(tmp_path / "site" / "cases-vcf-1.html")
    assert page.tags.count("article") == page.tags.count("table") == 1
    labels = page.all("img", "alt")
    assert labels == [
        "input of c1",
        *["reconstruction by dae / a", "reconstruction by dae / b"],
        "truth of c1",
        *["counterfactual by dae / a", "counterfactual by dae / b"],
        "exact difference of c1",
        *["difference by dae / a", "difference by dae / b"],
        "lesion mask of c1",
    ]
    sources = page.all("img", "src")
    assert len(set(sources)) == len(list((tmp_path / "site" / "images").iterdir())) == len(roles)
    assert all((tmp_path / "site" / source).is_file() for source in sources)
    assert set(page.all("img", "loading")) == {"lazy"}
    assert "judge before 0.980 0.980 L1 0.0310 0.0310" in page.text


def test_the_input_is_shown_though_no_method_reconstructs_it(run, tmp_path):
    folder = run([record()], {"suite": "vcf"}, [gallery_cell({"input": "input.png", "counterfactual": "cf.png"})])
    for i, name in enumerate(("input.png", "cf.png"), 1):
        (folder / "gallery" / name).write_bytes(png(i, 4))
    build([folder], tmp_path / "site")
    labels = Page(tmp_path / "site" / "cases-vcf-1.html").all("img", "alt")
    assert labels == ["input of c1", "counterfactual by dae / reflect"]


def test_methods_that_saw_other_pixels_are_other_cases(run, tmp_path):
    cells = [gallery_cell({"input": f"{i}.png"}, attribution=str(i)) for i in (1, 2)]
    folder = run([record()], {"suite": "vcf"}, cells)
    for i in (1, 2):
        (folder / "gallery" / f"{i}.png").write_bytes(png(i, 4))
    build([folder], tmp_path / "site")
    assert Page(tmp_path / "site" / "cases-vcf-1.html").tags.count("article") == 2


def test_a_sweep_is_one_case_with_one_table_per_target(run, tmp_path):
    cell = gallery_cell({"counterfactual": "x.png"})
    cell["items"] = [{**cell["items"][0], "target": t, "extrapolated": t > 3} for t in (4.0, 0.0, -1, 2)]
    build([run([record()], {"suite": "vcf"}, [cell])], tmp_path / "site")
    page = Page(tmp_path / "site" / "cases-vcf-1.html")
    assert page.tags.count("article") == 1
    assert page.all("section", "data-target") == ["-1", "0", "2", "4"]
    assert page.text.count("extrapolated") == 1
    (case,) = sheet_of(Page(tmp_path / "site" / "cases-vcf.html"))["cases"]
    assert [asked[0] for asked in case["a"]] == [-1, 0, 2, 4]


def test_failed_cases_are_there_with_their_reason(run, tmp_path):
    cells = [gallery_cell({"input": "i.png"}, status="the optimiser diverged")]
    build([run([record()], {"suite": "vcf"}, cells)], tmp_path / "site")
    page = Page(tmp_path / "site" / "cases-vcf-1.html")
    assert "the optimiser diverged" in page.text
    (case,) = sheet_of(Page(tmp_path / "site" / "cases-vcf.html"))["cases"]
    assert case["a"][0][2][0][0] == "the optimiser diverged"


def test_per_case_scores_stand_with_their_case_and_target(run, tmp_path):
    key = f"measure-{'b' * 40}"
    cell = gallery_cell({"counterfactual": "x.png"})
    cell["items"] = [{**cell["items"][0], "target": target} for target in (0.0, 2.0)]
    folder = run([record("flip", "counterfactual", key=key)], {"suite": "vcf"}, [cell])
    with_scores(folder, key, case=["c1", "c1", "hidden"], score=[0.25, 0.75, 0.5], target=[0.0, 2.0, 2.0])
    build([folder], tmp_path / "site")
    data = sheet_of(Page(tmp_path / "site" / "cases-vcf.html"))
    assert data["metrics"] == [["flip", "higher"]]
    assert [asked[2][0][2] for asked in data["cases"][0]["a"]] == [[0.25], [0.75]]
    assert "hidden" not in json.dumps(data)
    page = Page(tmp_path / "site" / "cases-vcf-1.html")
    assert re.findall(r"flip ↑ (\S+)", page.text) == ["0.250", "0.750"]


@pytest.mark.parametrize("key", ["../../secret", "measure-../x", "measure-zz", "", "measure-" + "a" * 100])
def test_a_records_key_names_no_file_outside_the_scores(run, tmp_path, key):
    folder = run([record("flip", "counterfactual", key=key)], {"suite": "vcf"}, [gallery_cell({})])
    (tmp_path / "secret.parquet").write_bytes(b"PAR1")
    build([folder], tmp_path / "site")
    assert sheet_of(Page(tmp_path / "site" / "cases-vcf.html"))["metrics"] == []


def test_damaged_scores_are_left_out(run, tmp_path):
    keys = [f"measure-{letter * 40}" for letter in "abc"]
    records = [record(f"m{i}", "counterfactual", key=key) for i, key in enumerate(keys)]
    folder = run(records, {"suite": "vcf"}, [gallery_cell({})])
    with_scores(folder, keys[0], other=[1])
    with_scores(folder, keys[1], case=["c1"], score=["not a number"], target=[0.0])
    (folder / "scores" / f"{keys[2]}.parquet").write_bytes(b"PAR1 damaged PAR1")
    build([folder], tmp_path / "site")
    assert sheet_of(Page(tmp_path / "site" / "cases-vcf.html"))["metrics"] == []


def test_many_cases_are_pages_of_their_own(run, tmp_path):
    cell = gallery_cell({"input": "i.png", "counterfactual": "i.png"})
    cell["items"] = [{**cell["items"][0], "id": f"c{i}"} for i in range(2 * PER_PAGE + 1)]
    folder = run([record()], {"suite": "vcf"}, [cell])
    (folder / "gallery" / "i.png").write_bytes(png())
    build([folder], tmp_path / "site")
    pages = [Page(tmp_path / "site" / f"cases-vcf-{n}.html") for n in (1, 2, 3)]
    assert [page.tags.count("article") for page in pages] == [PER_PAGE, PER_PAGE, 1]
    overview = Page(tmp_path / "site" / "cases-vcf.html")
    assert "img" not in overview.tags, "pictures are asked for by the script, a page at a time"
    for case in sheet_of(overview)["cases"]:
        file, _, anchor = case["p"].partition("#")
        assert ("id", anchor) in [(n, v) for _, n, v in Page(tmp_path / "site" / file).attributes]


def test_what_may_not_be_published_is_left_out_and_removed_when_withdrawn(run, tmp_path):
    folder = run([record()], {"suite": "vcf"}, [gallery_cell({"input": "a.png", "counterfactual": "a.png"})])
    (folder / "gallery" / "a.png").write_bytes(png())
    site = tmp_path / "site"
    build([folder], site)
    (site / "images" / "mine.png").write_bytes(b"not ours")
    assert len(list((site / "images").iterdir())) == 2
    for public, about in (
        (False, {}),
        (None, {}),
        ("yes", {}),
        (1, {}),
        (True, {"datasets": {"vertebra": {"redistributable": False}}}),
    ):
        cell = gallery_cell({"input": "a.png"}, public=public)
        (folder / "gallery" / "index.json").write_text(json.dumps({"cells": [cell]}))
        (folder / "run.json").write_text(json.dumps({"suite": "vcf", **about}))
        build([folder], site)
        page = Page(site / "cases-vcf.html")
        assert "c1" not in page.text
        assert "data" not in page.all("script", "id")
        assert "Not shown: pictures of vertebra" in page.text
        assert not (site / "cases-vcf-1.html").exists()
        assert [p.name for p in (site / "images").iterdir()] == ["mine.png"]
    (folder / "gallery" / "index.json").unlink()
    build([folder], site)
    assert not (site / "cases-vcf.html").exists()


def test_the_owner_may_look_at_private_images_and_every_page_says_so(run, tmp_path):
    figure = {"figure": "progression", "view": "sweep", "dataset": "vertebra", "public": False, "file": "f.png"}
    folder = run([record()], {"suite": "vcf"}, [gallery_cell({"input": "a.png"}, public=False)], figures=[figure])
    (folder / "gallery" / "a.png").write_bytes(png())
    (folder / "figures" / "f.png").write_bytes(png(9, 9))
    build([folder], tmp_path / "public")
    assert not list((tmp_path / "public" / "images").iterdir())
    build([folder], tmp_path / "own", private=True)
    assert len(list((tmp_path / "own" / "images").iterdir())) == 2
    for path in (tmp_path / "own").glob("*.html"):
        assert "Private build. It shows images of vertebra" in Page(path).text


@pytest.mark.parametrize("text", ["[]", "{", '{"cells": 3}', '{"cells": [{"public": true}]}', "[" * 100_000])
def test_a_broken_gallery_is_a_sentence(run, tmp_path, text):
    folder = run([record()])
    (folder / "gallery" / "index.json").write_text(text)
    with pytest.raises(StoreError, match=r"index\.json: not the index of a gallery"):
        build([folder], tmp_path / "site")
