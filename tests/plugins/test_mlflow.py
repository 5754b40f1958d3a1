import json
import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from cfbench.records import Cell, Record
from cfbench_mlflow import after_run, entries, plugin, target
from cfbench_mlflow.command import mlflow as command
from cfbench_mlflow.sync import ENVIRONMENT, sync

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
    os.environ.update(ENVIRONMENT)
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
        "datasets": {"vertebra": {"use": "vertebra-phantom", "fingerprint": "abc"}},
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
    assert reflect.data.params == {**{k: str(v) for k, v in vars(KEYS).items()}}
    assert reflect.data.tags["skipped/probe/f1"] == "needs more than one class"
    assert other.data.tags["failed/counterfactual/flip"] == "killed by signal 9"
    assert (reflect.info.status, other.info.status, suite.info.status) == ("FINISHED", "FAILED", "FAILED")
    assert suite.data.metrics["records/failed"] == 1.0
    assert suite.data.tags["cfbench.environment.torch"] == "2.13"
    assert suite.info.start_time == 1795168800000
    (dataset,) = reflect.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("vertebra", entries.digest("abc"))
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


def test_a_sync_that_was_killed_half_way_is_made_good(folder):
    uri = target.tracking_uri(folder)
    sync(RECORDS, folder, uri)
    client, _, (other, _) = runs(folder)
    client.set_terminated(other.info.run_id, status="RUNNING")
    done = sync(RECORDS, folder, uri)
    assert (done.created, done.kept) == (1, 1)
    assert [r.info.status for r in runs(folder)[2]] == ["FAILED", "FINISHED"]


def test_two_runs_of_one_suite_do_not_touch_each_other(folder):
    uri = target.tracking_uri(folder)
    sync(RECORDS, folder, uri)
    second = folder.with_name("77aa")
    second.mkdir()
    (second / "run.json").write_text('{"suite": "vcf", "suite_hash": "77aa"}')
    assert sync(RECORDS[:2], second, uri).created == 1
    assert sync(RECORDS, folder, uri).kept == 2


def test_pictures_are_logged_only_if_they_may_be_published(folder):
    gallery = folder / "gallery"
    gallery.mkdir()
    images = {}
    for role in ("input", "counterfactual", "difference"):
        Image.new("L", (8, 8), 99).save(gallery / f"{role}.png")
        images[role] = f"{role}.png"
    items = [{"id": f"c{i}", "grade": 3, "target": 0, "status": "ok", "images": images} for i in range(9)]
    items[0]["images"] = {**images, "input": "../run.json"}
    shown, hidden = (
        {**vars(KEYS), "attribution": a, "public": a == "reflect", "items": items} for a in ("reflect", "other")
    )
    (gallery / "index.json").write_text(json.dumps({"cells": [shown, hidden]}))
    sync(RECORDS, folder, target.tracking_uri(folder))
    client, _, (other, reflect) = runs(folder)
    assert client.list_artifacts(other.info.run_id) == []
    paths = {a.path for a in client.list_artifacts(reflect.info.run_id)}
    assert "gallery.json" in paths
    table = json.loads(Path(client.download_artifacts(reflect.info.run_id, "gallery.json")).read_text())
    assert [row[table["columns"].index("id")] for row in table["data"]] == ["c1", "c2", "c3"]


def test_a_saved_table_of_cells_is_stored_once(folder):
    uri = target.tracking_uri(folder)
    hint = sync(RECORDS, folder, uri).hint
    client, suite, _ = runs(folder)
    view = client.get_experiment(suite.info.experiment_id).tags["mlflow.sharedViewState.cfbench"]
    assert "viewStateShareKey=cfbench" in hint
    time.sleep(0.002)
    sync([*RECORDS], folder, uri)
    assert client.get_experiment(suite.info.experiment_id).tags["mlflow.sharedViewState.cfbench"] == view


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
    points = {k: v for k, v in run.data.metrics.items() if not k.endswith(("/n", "/ci95_lo", "/ci95_hi"))}
    assert sorted(points.values()) == pytest.approx([0.1 * i for i in range(len(names))])


def test_more_reasons_than_one_batch_takes_are_all_kept(folder):
    made = [record(f"m{i}", status="skipped", reason=f"reason {i}") for i in range(230)]
    sync(made, folder, target.tracking_uri(folder))
    (run,) = runs(folder)[2]
    assert {f"reason {i}" for i in range(230)} <= set(run.data.tags.values())


def test_the_last_record_of_a_number_counts_whatever_the_order_of_the_others():
    made = entries.by_cell([record("b", 0.1), record("a", 0.2), record("b", 0.3)])
    assert [(r.metric, r.value) for r in made[KEYS]] == [("a", 0.2), ("b", 0.3)]


# The end of a run


def test_an_unchanged_run_does_not_import_mlflow(folder, monkeypatch, capsys):
    plugin.cfbench_run_finished(records=RECORDS, folder=folder)
    assert "viewStateShareKey" in capsys.readouterr().err
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
    with pytest.raises(Exception, match="longer than 0 s; 1 cells were written"):
        sync(RECORDS, folder, uri, limit=0.0)
    assert not (folder / target.STATE).exists()
    done = sync(RECORDS, folder, uri)
    assert (done.created, done.kept) == (1, 1)


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
