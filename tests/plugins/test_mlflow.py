import json
import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import zlib
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from cfbench.errors import StoreError
from cfbench.records import Cell, Record, records_digest
from cfbench_mlflow import after_run, entries, plugin, saved_view, target
from cfbench_mlflow.command import mlflow as command
from cfbench_mlflow.gallery import CASES, read_gallery, write_table
from cfbench_mlflow.sync import sync

KEYS = Cell(dataset="vertebra", task="fracture", generator="dae", attribution="reflect", seed=0)


def record(metric="auc", value=0.8, *, view="probe", attribution="reflect", seed=0, **fields):
    cell = replace(KEYS, attribution=attribution, seed=seed)
    numbers = (
        {}
        if fields.get("status")
        else {"status": "ok", "value": value, "low": value - 0.1, "high": value + 0.1, "n": 20}
    )
    return Record(suite="vcf", cell=cell, metric=metric, view=view, **{**numbers, **fields})


RECORDS = [
    record("auc", 0.8),
    record("f1", status="skipped", reason="needs more than one class"),
    record("auc", 0.6, attribution="other"),
    record("flip", view="counterfactual", attribution="other", status="failed", reason="killed by signal 9"),
]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """Return a database that MLflow has brought up to date: the slow part, done once."""
    os.environ.update(target.ENVIRONMENT)
    root = tmp_path_factory.mktemp("mlflow")
    folder = root / "suite" / "hash"
    folder.mkdir(parents=True)
    sync([], folder, f"sqlite:///{root / 'mlflow.db'}")
    return root / "mlflow.db"


@pytest.fixture
def folder(tmp_path, migrated, monkeypatch):
    """Return a run folder beside a fresh copy of the migrated database."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = tmp_path / "runs" / "vcf" / "3fa9"
    made.mkdir(parents=True)
    shutil.copy(migrated, tmp_path / "runs" / "mlflow.db")
    about = {
        "suite": "vcf",
        "suite_hash": "3fa9",
        "cfbench": "0.1.0",
        "environment": {"torch": "2.13"},
        "started": "2026-11-20T10:00:00+00:00",
        "command": "cfbench run vcf.yaml",
        "datasets": {"vertebra": {"use": "vertebra-phantom", "fingerprint": "abc", "params": {"size": 32}}},
        "components": {
            "generators": {"dae": {"use": "dae", "version": 1, "params": {"steps": 20, "mult": [1, 2], "weights": ""}}},
            "attributions": {"other": {"use": "truth", "version": 1, "params": {}, "sentinel": True}},
        },
    }
    (made / "run.json").write_text(json.dumps(about))
    return made


def write_records(folder, records=RECORDS):
    (folder / "records.jsonl").write_text("".join(f"{r.to_json()}\n" for r in records))


def runs(folder, uri=None):
    """Return suite runs and cell runs."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri or target.tracking_uri(folder))
    experiment = client.get_experiment_by_name("vcf")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.run_name"])
    kind = {k: [r for r in found if r.data.tags["cfbench.kind"] == k] for k in ("suite", "cell")}
    assert len(kind["suite"]) == 1
    return client, kind["suite"][0], kind["cell"]


# What is written


def test_a_cell_becomes_a_run_below_that_of_its_suite(folder):
    done = sync(RECORDS, folder, target.tracking_uri(folder))
    assert (done.created, done.kept, done.removed) == (2, 0, 0)
    client, suite, (other, reflect) = runs(folder)
    assert other.data.tags["mlflow.parentRunId"] == reflect.data.tags["mlflow.parentRunId"] == suite.info.run_id
    assert reflect.data.metrics == {
        "probe/auc": 0.8,
        "probe/auc/ci95_lo": pytest.approx(0.7),
        "probe/auc/ci95_hi": pytest.approx(0.9),
        "probe/auc/n": 20.0,
    }
    settings = {k: v for k, v in reflect.data.params.items() if k.startswith("settings/")}
    assert {k: v for k, v in reflect.data.params.items() if k not in settings} == {
        **{k: str(v) for k, v in vars(KEYS).items()},
        "run": "3fa9",
    }
    assert settings == {
        "settings/dataset.use": "vertebra-phantom",
        "settings/dataset.size": "32",
        "settings/generator.use": "dae",
        "settings/generator.version": "1",
        "settings/generator.steps": "20",
        "settings/generator.mult": "[1, 2]",
    }
    assert other.data.params["settings/attribution.sentinel"] == "True"
    assert reflect.data.tags["skipped/probe/f1"] == "needs more than one class"
    assert other.data.tags["failed/counterfactual/flip"] == "killed by signal 9"
    assert (reflect.info.status, other.info.status, suite.info.status) == ("FINISHED", "FAILED", "FAILED")
    assert suite.data.metrics["records/failed"] == 1.0
    assert suite.data.tags["cfbench.environment.torch"] == "2.13"
    assert suite.info.start_time == 1795168800000
    (dataset,) = reflect.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("vertebra", entries.digest("abc")[:12])
    assert json.loads(dataset.dataset.source)["tags"]["cfbench.fingerprint"] == "abc"
    experiment = client.get_experiment(suite.info.experiment_id)
    assert experiment.artifact_location.startswith((folder.parents[1] / "mlflow-artifacts").as_uri())


def test_syncing_twice_changes_nothing_even_without_the_note_in_the_folder(folder):
    uri = target.tracking_uri(folder)
    sync(RECORDS, folder, uri)
    before = [r.to_dictionary() for r in runs(folder)[2]], runs(folder)[1].to_dictionary()
    (folder / target.STATE).unlink()
    done = sync(list(reversed(RECORDS)), folder, uri)
    assert (done.created, done.kept, done.removed) == (0, 2, 0)
    assert ([r.to_dictionary() for r in runs(folder)[2]], runs(folder)[1].to_dictionary()) == before


def test_a_changed_record_replaces_its_cells_run_only(folder):
    uri = target.tracking_uri(folder)
    sync(RECORDS, folder, uri)
    _, suite, (other, reflect) = runs(folder)
    done = sync([record("auc", 0.9), *RECORDS[2:3]], folder, uri)
    assert (done.created, done.kept) == (2, 0)
    _, same, (new_other, new_reflect) = runs(folder)
    assert same.info.run_id == suite.info.run_id
    assert {other.info.run_id, reflect.info.run_id}.isdisjoint({new_other.info.run_id, new_reflect.info.run_id})
    assert new_reflect.data.metrics["probe/auc"] == 0.9
    assert (same.info.status, new_other.info.status) == ("FINISHED", "FINISHED")
    done = sync([record("auc", 0.95), *RECORDS[2:3]], folder, uri)
    assert (done.created, done.kept) == (1, 1)


def test_a_cell_that_is_no_longer_there_is_removed(folder):
    uri = target.tracking_uri(folder)
    sync(RECORDS, folder, uri)
    assert sync(RECORDS[:2], folder, uri).removed == 1
    assert len(runs(folder)[2]) == 1


@pytest.mark.parametrize(
    ("step", "at"),
    [("log_inputs", 1), ("log_artifacts", 1), ("log_batch", 3), ("set_terminated", 2), ("delete_run", 1)],
)
def test_a_sync_that_dies_anywhere_is_made_good(folder, monkeypatch, step, at):
    """Killed in front of any of the calls that write: what was half done is made again, and nothing is there twice."""
    from mlflow.tracking import MlflowClient

    class KilledError(BaseException):
        pass

    write_gallery(folder, [KEYS])
    uri, calls, call = target.tracking_uri(folder), [], getattr(MlflowClient, step)
    sync([record("auc", 0.1)], folder, uri)

    def dying(self, *args, **named):
        calls.append(step)
        if len(calls) == at:
            raise KilledError
        return call(self, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, dying)
        try:
            sync(RECORDS, folder, uri)
        except KilledError:
            assert json.loads((folder / target.STATE).read_text())["digest"] != records_digest(RECORDS)
    done = sync(RECORDS, folder, uri)
    assert done.created + done.kept == 2
    _, suite, cells = runs(folder)
    assert [r.info.run_name for r in cells] == ["dae / other (control)", "dae / reflect"]
    assert {r.info.status for r in [suite, *cells]} == {"FINISHED", "FAILED"}
    assert cells[1].data.metrics["probe/auc"] == 0.8
    assert sync(RECORDS, folder, uri).kept == 2


def test_two_runs_of_one_suite_do_not_touch_each_other(folder):
    uri = target.tracking_uri(folder)
    sync(RECORDS, folder, uri)
    second = folder.with_name("77aa")
    second.mkdir()
    (second / "run.json").write_text('{"suite": "vcf", "suite_hash": "77aa"}')
    assert sync(RECORDS[:2], second, uri).created == 1
    assert sync(RECORDS, folder, uri).kept == 2


def write_gallery(folder, cells, public=True, **changes):
    """Write a gallery of nine cases, the first of which asks for a file elsewhere."""
    gallery = folder / "gallery"
    gallery.mkdir()
    images = {}
    for i, role in enumerate(("input", "counterfactual", "difference", "reconstruction")):
        Image.new("L", (8, 8), 60 * i).save(gallery / f"{role}.png")
        images[role] = f"{role}.png"
    items = [
        {"id": f"c{i}", "grade": 3.0, "target": 0.0, "status": "ok", "images": images, "numbers": {"L1": 0.25}}
        for i in range(9)
    ]
    items[0]["images"] = {**images, "input": "../secret.png"}
    items[1] |= {"status": "failed", "images": {"input": "input.png"}, "numbers": {}}
    items[2] |= changes
    shown = [{**vars(cell), "public": public, "items": items} for cell in cells]
    (gallery / "index.json").write_text(json.dumps({"cells": shown}))


def files(client, run, path=None):
    """Return the paths of all of a run's files."""
    found = client.list_artifacts(run.info.run_id, path)
    return {f for a in found for f in (files(client, run, a.path) if a.is_dir else {a.path})}


def table_of(client, run):
    table = json.loads(Path(client.download_artifacts(run.info.run_id, "gallery.json")).read_text())
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def test_cases_become_a_table_of_pictures_that_the_interface_finds(folder):
    Image.new("L", (8, 8)).save(folder / "secret.png")
    write_gallery(folder, [KEYS])
    sync(RECORDS, folder, target.tracking_uri(folder))
    client, _, (other, reflect) = runs(folder)
    assert files(client, other) == set()
    assert json.loads(reflect.data.tags["mlflow.loggedArtifacts"]) == [{"path": "gallery.json", "type": "table"}]
    rows = table_of(client, reflect)
    assert [row["case"] for row in rows] == [f"c{i}, 3 to 0" for i in range(1, 9)][:CASES]
    assert (rows[0]["status"], rows[1]["L1"]) == ("failed", "0.25")
    assert list(rows[0])[:2] == ["case", "output"]
    pictures = [row["output"]["filepath"] for row in rows]
    assert files(client, reflect) == {"gallery.json", *pictures}
    with Image.open(client.download_artifacts(reflect.info.run_id, pictures[1])) as strip:
        middles = [strip.getpixel((50 + 100 * i, 60)) for i in range(3)]
        assert middles == [(0, 0, 0), (60, 60, 60), (120, 120, 120)]
        assert strip.width == 3 * 100 - 4  # a counterfactual stands in for the reconstruction
    with Image.open(client.download_artifacts(reflect.info.run_id, pictures[0])) as strip:
        assert strip.width == 96


def test_no_pixel_leaves_that_may_not_be_published(folder):
    """Neither if the gallery is not public, nor if `run.json` says so of the dataset, figures included."""
    write_gallery(folder, [KEYS], public=False)
    (folder / "figures").mkdir()
    Image.new("L", (8, 8)).save(folder / "figures" / "f.png")
    entry = {**vars(KEYS), "public": True, "reason": "", "file": "f.png"}
    (folder / "figures" / "index.json").write_text(json.dumps({"figures": [entry]}))
    sync(RECORDS, folder, target.tracking_uri(folder))
    client, _, (_, reflect) = runs(folder)
    assert files(client, reflect) == {"figures/f.png"}

    about = json.loads((folder / "run.json").read_text())
    about["datasets"]["vertebra"]["redistributable"] = False
    index = json.loads((folder / "gallery" / "index.json").read_text())
    index["cells"][0]["public"] = True
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "gallery" / "index.json").write_text(json.dumps(index))
    sync([*RECORDS, record("mae", 0.1)], folder, target.tracking_uri(folder))
    client, suite, (_, reflect) = runs(folder)
    assert files(client, reflect) == set()
    assert files(client, suite) == {"run.json"}


def test_a_hostile_gallery_costs_its_own_lines_at_most(folder, tmp_path):
    gallery = folder / "gallery"
    gallery.mkdir()
    Image.new("L", (8, 8)).save(gallery / "input.png")
    (gallery / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 99)
    (gallery / "text.png").write_text("a secret")
    Image.new("L", (9000, 1)).save(gallery / "huge.png")
    Image.new("L", (8, 8)).save(tmp_path / "elsewhere.png")
    (gallery / "link.png").symlink_to(tmp_path / "elsewhere.png")
    (gallery / "folder.png").mkdir()
    bad = (
        "broken.png",
        "text.png",
        "huge.png",
        "link.png",
        "folder.png",
        "/etc/x.png",
        "../run.json",
        "a\0b.png",
        3,
        {},
    )
    items = [{"id": "bad", "images": {"input": file}} for file in bad]
    items += [3, {}, {"images": []}, {"images": {"input": ["x"]}}]
    long = {"id": "<img src=x onerror=alert(1)>" * 999, "grade": "\ud800", "target": [], "status": None, "numbers": 3}
    clash = {"numbers": {"../../x": "y" * 9999, "output": "mine", "case": "mine", "L1": 1e999}}
    items += [{**told, "images": {"input": "input.png", "counterfactual": "broken.png"}} for told in (long, clash)]
    (gallery / "index.json").write_text(json.dumps({"cells": [{**vars(KEYS), "public": True, "items": items}]}))
    (tmp_path / "out").mkdir()
    assert write_table(read_gallery(folder, {}), KEYS, tmp_path / "out")
    table = json.loads((tmp_path / "out" / "gallery.json").read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [row["output"]["filepath"] for row in rows] == ["gallery/00.png", "gallery/01.png"]
    assert max(len(str(v)) for row in rows for v in row.values()) < 300
    assert sorted(p.name for p in (tmp_path / "out" / "gallery").iterdir()) == ["00.png", "01.png"]


@pytest.mark.parametrize(
    "index", ["", "[]", "{}", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"public": true}]}', "[" * 99999]
)
def test_a_broken_index_shows_nothing(folder, index):
    (folder / "gallery").mkdir()
    (folder / "gallery" / "index.json").write_text(index)
    gallery = read_gallery(folder, {"datasets": 3})
    assert (dict(gallery.items), dict(gallery.figures)) == ({}, {})


# What is shown


def view_of(tags, key):
    view = json.loads(tags[f"mlflow.sharedViewState.{key}"])
    return view["name"], json.loads(zlib.decompress(b64decode(view["state"].removeprefix("deflate;"))))


def test_each_run_has_a_view_of_its_cells_and_the_suite_one_of_all(folder):
    uri = target.tracking_uri(folder)
    page = sync(RECORDS, folder, uri).page
    client, suite, _ = runs(folder)
    tags = client.get_experiment(suite.info.experiment_id).tags
    key = f"cfbench-{suite.data.tags['cfbench.run'][:12]}"
    assert (
        page == f"#/experiments/{suite.info.experiment_id}/runs?viewStateShareKey={key}&workflowType=machine_learning"
    )
    name, state = view_of(tags, key)
    assert name == "3fa9 2026-11-20 10:00"
    query = [suite.info.experiment_id], state["searchFilter"]
    assert {r.info.run_name for r in client.search_runs(*query)} == {"dae / reflect", "dae / other (control)"}
    assert state["orderByKey"] == "metrics.`probe/auc`"
    assert state["selectedColumns"][:2] == ["metrics.`probe/auc`", "params.`generator`"]
    assert "groupBy" not in state
    shown = {section["name"]: section["display"] for section in state["compareRunSections"]}
    assert shown == {"probe": True, "probe/auc": False}
    assert view_of(tags, "cfbench")[0] == "all runs of this suite"

    time.sleep(0.002)
    (folder / target.STATE).unlink()
    sync(RECORDS, folder, uri)
    assert client.get_experiment(suite.info.experiment_id).tags == tags


def test_seeds_have_a_view_of_their_mean(folder):
    sync([record("auc", 0.5 + s / 10, seed=s) for s in range(3)], folder, target.tracking_uri(folder))
    client, suite, cells = runs(folder)
    tags = client.get_experiment(suite.info.experiment_id).tags
    _, state = view_of(tags, f"cfbench-{suite.data.tags['cfbench.run'][:12]}-seeds")
    assert {k["groupByData"] for k in state["groupBy"]["groupByKeys"]} <= cells[0].data.params.keys()
    assert [r.info.run_name for r in cells] == [f"dae / reflect, seed {s}" for s in range(3)]


def test_only_the_newest_views_are_kept(folder, monkeypatch):
    monkeypatch.setattr(saved_view, "KEPT", 2)
    for i in range(3):
        again = folder.with_name(f"run{i}")
        again.mkdir()
        sync(RECORDS[:1], again, target.tracking_uri(folder))
    from mlflow.tracking import MlflowClient

    tags = MlflowClient(target.tracking_uri(folder)).get_experiment_by_name("vcf").tags
    names = {view_of(tags, k.removeprefix("mlflow.sharedViewState."))[0] for k in tags if "sharedView" in k}
    assert {name.strip() for name in names} == {"all runs of this suite", "run1", "run2"}


def test_a_view_fits_into_a_tag_however_many_metrics_there_are(folder):
    made = [record(f"metric-{digest}", 0.5) for digest in (entries.digest(i) for i in range(300))]
    sync(made, folder, target.tracking_uri(folder))
    client, suite, (cell,) = runs(folder)
    assert len(cell.data.metrics) == 1200
    tags = client.get_experiment(suite.info.experiment_id).tags
    assert max(len(v) for k, v in tags.items()) <= 5000


def test_names_say_what_differs_and_the_method_first():
    two = [KEYS, replace(KEYS, dataset="chest", task=None, attribution=None, seed=1)]
    assert list(entries.cell_names(two).values()) == ["dae / reflect, vertebra, seed 0", "dae, chest, seed 1"]
    assert list(entries.cell_names([KEYS, replace(KEYS, generator=None)]).values()) == ["dae / reflect", "reflect"]
    assert list(entries.cell_names([replace(KEYS, generator=None, attribution=None)]).values()) == ["data"]


# Keys and values


def test_numbers_that_mlflow_would_falsify_are_left_out():
    bad = [record(str(v), 0.0) for v in (math.inf, math.nan, 1e305)]
    bad = [replace(r, value=float(r.metric), low=None, high=-math.inf) for r in bad]
    metrics = entries.cell_entry("run", KEYS, [*bad, record("auc", 0.5)]).metrics
    assert {k for k in metrics if not k.endswith("/n")} == {"probe/auc", "probe/auc/ci95_lo", "probe/auc/ci95_hi"}


def test_names_that_mlflow_refuses_are_changed_and_stay_apart(folder):
    names = ["auc@k", "auc(k", "../../x", "a//b", "=x", "", "é", "x" * 400, "a\nb", "<img onerror=1>"]
    made = [record(n, 0.1 * i) for i, n in enumerate(names)]
    made += [record("r" * 300 + str(i), status="skipped", reason="why " * 4000) for i in range(2)]
    sync(made, folder, target.tracking_uri(folder))
    (run,) = runs(folder)[2]
    points = {k: v for k, v in run.data.metrics.items() if not k.endswith(entries.ENDINGS)}
    assert sorted(points.values()) == pytest.approx([0.1 * i for i in range(len(names))])


def test_hostile_strings_are_kept_apart_and_harm_nothing(folder):
    """Separators, relative paths, markup, control and lone surrogate characters, values beyond every limit."""
    evil = "../../etc/`x' OR 1=1 --\n\x00\ud800<script>alert(1)</script>" + "Δ" * 9000
    about = json.loads((folder / "run.json").read_text())
    params = {evil: evil, f"{evil}2": math.inf, "nested": {"..": evil}, "fine": 1}
    about |= {"suite": evil, "started": evil, "suite_hash": evil, "command": evil, "environment": [evil]}
    about["components"] = {"generators": {evil: {"use": evil, "params": params}}, "attributions": [evil]}
    about["datasets"] = {evil: {"fingerprint": evil, "use": {"a": evil}}}
    (folder / "run.json").write_text(json.dumps(about))
    cell = Cell(dataset=evil, task=evil, generator=evil, attribution=evil, seed=0)
    made = [
        Record(suite=evil, cell=cell, metric=f"{evil}{i}", view=evil, value=0.5, unranked=(evil,)) for i in range(2)
    ]
    made.append(Record(suite=evil, cell=cell, metric="m", view="..", status="failed", reason=evil))
    uri = target.tracking_uri(folder)
    assert sync(made, folder, uri).created == 1
    assert sync(made, folder, uri).kept == 1
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    (experiment,) = [e for e in client.search_experiments() if e.name not in {"Default", "suite"}]
    found = client.search_runs([experiment.experiment_id], "tags.`cfbench.kind` = 'cell'")[0]
    assert list(found.data.metrics.values()).count(0.5) == 2
    assert found.data.params["settings/generator.fine"] == "1"
    assert found.data.params["dataset"].endswith("Δ")
    assert "failed/m" in found.data.tags
    inside = folder.parents[1]
    assert {p.name for p in inside.iterdir()} == {"vcf", "mlflow.db", "mlflow.lock", "mlflow-artifacts"}


@pytest.mark.parametrize("about", ["[" * 99999, '{"datasets": [], "components": 3, "suite": ["x"]}'])
def test_a_broken_run_json_costs_only_what_it_would_have_told(folder, about):
    (folder / "run.json").write_text(about)
    assert sync(RECORDS[:1], folder, target.tracking_uri(folder)).created == 1


def test_more_reasons_than_one_batch_takes_are_all_kept(folder):
    made = [record(f"m{i}", status="undefined", reason=f"reason {i}") for i in range(230)]
    sync(made, folder, target.tracking_uri(folder))
    (run,) = runs(folder)[2]
    assert {f"reason {i}" for i in range(230)} <= set(run.data.tags.values())


def test_a_cell_without_a_number_is_kept_with_its_reason_and_left_out_of_the_views(folder):
    made = [record("auc", 2 / 3), record("auc", attribution="edit", status="skipped", reason="no")]
    sync(made, folder, target.tracking_uri(folder))
    client, suite, cells = runs(folder)
    assert [run.data.metrics["probe/auc"] for run in cells] == [0.666667]
    (left,) = client.search_runs([suite.info.experiment_id], "tags.`cfbench.kind` = 'skipped'")
    assert (left.info.run_name, left.data.tags["skipped/probe/auc"]) == ("dae / edit", "no")


def test_columns_without_a_better_direction_come_last(folder):
    made = [record("a", 0.1, direction="none"), record("b", 0.2, direction="higher")]
    sync(made, folder, target.tracking_uri(folder))
    client, suite, _ = runs(folder)
    tags = client.get_experiment(suite.info.experiment_id).tags
    state = view_of(tags, f"cfbench-{suite.data.tags['cfbench.run'][:12]}")[1]
    assert state["selectedColumns"][:2] == ["metrics.`probe/b`", "metrics.`probe/a`"]


def test_the_last_record_of_a_number_counts_whatever_the_order_of_the_others():
    made = entries.by_cell([record("b", 0.1), record("a", 0.2), record("b", 0.3)])
    assert [(r.metric, r.value) for r in made[KEYS]] == [("a", 0.2), ("b", 0.3)]


# The end of a run


def test_an_unchanged_run_does_not_import_mlflow(folder, monkeypatch, capsys):
    plugin.cfbench_run_finished(records=RECORDS, folder=folder)
    assert f"`cfbench mlflow ui {folder}`" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "cfbench_mlflow.sync", None)
    plugin.cfbench_run_finished(records=RECORDS, folder=folder)
    assert capsys.readouterr() == ("", "")
    plugin.cfbench_run_finished(records=RECORDS[:1], folder=folder)
    assert "was not updated" in capsys.readouterr().err


def test_a_deleted_database_is_made_again(folder):
    uri = target.tracking_uri(folder)
    sync(RECORDS, folder, uri)
    digest = json.loads((folder / target.STATE).read_text())["digest"]
    assert target.is_current(folder, uri, digest)
    target.database(uri).unlink()
    assert not target.is_current(folder, uri, digest)


def failing(folder, capsys, limit):
    """Run the hook and return its one line."""
    started = time.monotonic()
    plugin.cfbench_run_finished(records=RECORDS, folder=folder)
    assert time.monotonic() - started < limit
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f"`cfbench mlflow sync {folder}` tries again" in err
    assert not (folder / target.STATE).exists()
    return err


def test_a_locked_database_is_one_sentence_and_synced_later(folder, capsys, monkeypatch):
    monkeypatch.setattr(target, "_BUSY", 0.1)
    holder = sqlite3.connect(target.database(target.tracking_uri(folder)), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert "locked" in failing(folder, capsys, 5)
    holder.execute("ROLLBACK")
    holder.close()
    plugin.cfbench_run_finished(records=RECORDS, folder=folder)
    assert len(runs(folder)[2]) == 2


def test_a_file_that_is_no_database_is_one_sentence(folder, capsys):
    target.database(target.tracking_uri(folder)).write_bytes(b"x" * 4096)
    assert "not a database" in failing(folder, capsys, 5)


def test_a_place_that_cannot_be_written_is_one_sentence(folder, capsys, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'file' / 'mlflow.db'}")
    assert "cannot be written" in failing(folder, capsys, 5)


def test_a_schema_of_a_newer_mlflow_is_one_sentence(folder, capsys):
    with sqlite3.connect(target.database(target.tracking_uri(folder))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'fromthefuture'")
    connection.close()
    failing(folder, capsys, 20)


def test_a_server_that_is_down_is_one_sentence_without_its_password(folder, capsys, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{port}")
    assert "secret" not in failing(folder, capsys, 20)


def test_a_store_that_is_too_slow_is_left_and_finished_later(folder):
    uri = target.tracking_uri(folder)
    with pytest.raises(StoreError, match=r"takes too long; \d of 2 cells were written"):
        sync(RECORDS, folder, uri, limit=0.0)
    assert not (folder / target.STATE).exists()
    done = sync(RECORDS, folder, uri)
    assert done.created + done.kept == 2
    assert len(runs(folder)[2]) == 2


def test_a_warning_is_one_line_whatever_the_error_says():
    line = after_run.warning(ValueError("a\nb" + "x" * 10_000), Path("/r/with space"), "http://u:p@host/x")
    assert "\n" not in line
    assert len(line) < 500
    assert "u:p" not in line
    assert "'/r/with space'" in line


# The command


def test_the_command_syncs_and_tells(folder):
    write_records(folder)
    first, second = (CliRunner().invoke(command, ["sync", str(folder)]) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert "2 cells written, 0 unchanged" in first.output
    assert "nothing new" in second.output
    assert f"`cfbench mlflow ui {folder}`" in second.output


def test_the_page_of_a_server_is_only_pointed_to(folder, monkeypatch):
    """Also one that is down: what it has got is known, and the newest run is looked for."""
    uri = "http://me:secret@127.0.0.1:9/mlflow/"
    write_records(folder)
    target.remember(folder, uri, records_digest(RECORDS), "#/experiments/7/runs?x=y")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(folder.parents[2])
    done = CliRunner().invoke(command, ["ui", "--no-browser"])
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "MLflow: http://127.0.0.1:9/mlflow/#/experiments/7/runs?x=y"


def test_without_a_run_there_is_nothing_to_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(command, ["ui"])
    assert done.exit_code == 2
    assert "name a run folder" in done.output


def test_the_command_fails_with_a_sentence(folder, monkeypatch):
    write_records(folder)
    done = CliRunner().invoke(
        command, ["sync", str(folder), "--tracking-uri", f"sqlite:///{folder}/run.json/mlflow.db"]
    )
    assert done.exit_code == 1
    assert "was not updated" in done.output


def test_importing_the_plugin_is_light():
    code = (
        "import sys, cfbench_mlflow.plugin as p; p.cfbench_commands(); import cfbench_mlflow.command\n"
        "print(*{'torch', 'numpy', 'pandas', 'mlflow', 'sqlalchemy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == ""
