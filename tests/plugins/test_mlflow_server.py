"""With a real `mlflow server`: the one that `cfbench mlflow ui` starts, used as a tracking server of others too."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner
from PIL import Image

from cfbench.records import Cell, Record
from cfbench_mlflow import plugin, target
from cfbench_mlflow.command import mlflow as command
from cfbench_mlflow.sync import sync

KEYS = Cell(dataset="vertebra", task="fracture", generator="dae", attribution="reflect", seed=0)


def records(count=3):
    """Return records of so many cells."""
    cells = [Cell(**{**vars(KEYS), "seed": seed}) for seed in range(count)]
    return [Record(suite="served", cell=cell, metric="auc", view="probe", value=0.5, n=9) for cell in cells]


def make_run(folder, found):
    """Write a run folder with a gallery of one case for each cell."""
    (folder / "gallery").mkdir(parents=True)
    (folder / "records.jsonl").write_text("".join(f"{r.to_json()}\n" for r in found))
    (folder / "run.json").write_text(json.dumps({"suite": "served", "suite_hash": folder.name}))
    Image.new("L", (8, 8), 77).save(folder / "gallery" / "input.png")
    items = [{"id": "c0", "grade": 1.0, "target": 0.0, "status": "ok", "images": {"input": "input.png"}}]
    shown = [{**vars(r.cell), "public": True, "items": items} for r in found]
    (folder / "gallery" / "index.json").write_text(json.dumps({"cells": shown}))
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Run `cfbench mlflow ui` on a run; return the address of its server and the page that it printed."""
    folder = make_run(tmp_path_factory.mktemp("served") / "runs" / "own" / "3fa9", records(1))
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    ui = [sys.executable, "-m", "cfbench", "mlflow", "ui", str(folder), "--port", "0", "--no-browser"]
    with subprocess.Popen(
        ui,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        # A shell's background job ignores Ctrl-C, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads run here
    ) as process:
        try:
            said = ""
            while "MLflow: " not in said:
                said = process.stdout.readline()
                assert said, "it ended before it printed an address"
            base, _, page = said.removeprefix("MLflow: ").strip().partition("/#")
            yield base, f"#{page}"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()  # else leaving this block would wait for it for ever
                raise
    assert process.returncode == 0
    with socket.socket() as probe:  # no server is left behind
        assert probe.connect_ex(("127.0.0.1", int(base.rpartition(":")[2]))) != 0


@pytest.fixture
def folder(tmp_path, served, monkeypatch):
    """Return a run folder whose runs go to the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served[0])
    return make_run(tmp_path / "runs" / "served" / tmp_path.name[-12:], records())


def cells(uri, folder):
    """Return the runs of a folder's cells on a server."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("served")
    query = f"tags.`cfbench.kind` = 'cell' AND params.run = '{folder.name}'"
    return client, client.search_runs([experiment.experiment_id], query, order_by=["params.seed"])


def test_ui_serves_the_page_it_prints(served):
    base, page = served
    with urlopen(f"{base}/", timeout=30) as answer:  # noqa: S310 - our own http address
        assert b"MLflow" in answer.read()
    from mlflow.tracking import MlflowClient

    experiment = MlflowClient(base).get_experiment(page.split("/")[2])
    key = page.partition("viewStateShareKey=")[2].partition("&")[0]
    assert experiment.name == "served"
    assert f"mlflow.sharedViewState.{key}" in experiment.tags


def test_a_run_goes_to_a_tracking_server_once(folder, served, capsys):
    plugin.cfbench_run_finished(records=records(), folder=folder)
    assert f"MLflow: {served[0]}/#/experiments/" in capsys.readouterr().err
    client, first = cells(served[0], folder)
    assert [r.data.params["seed"] for r in first] == ["0", "1", "2"]
    assert {r.info.status for r in first} == {"FINISHED"}
    table = json.loads(Path(client.download_artifacts(first[0].info.run_id, "gallery.json")).read_text())
    picture = table["data"][0][table["columns"].index("output")]["filepath"]
    with Image.open(client.download_artifacts(first[0].info.run_id, picture)) as strip:
        assert strip.getpixel((64, 64)) == (77, 77, 77)
    (folder / target.STATE).unlink()
    assert sync(records(), folder, served[0]).kept == 3
    assert [r.info.run_id for r in cells(served[0], folder)[1]] == [r.info.run_id for r in first]
    assert not (folder.parents[1] / "mlflow.db").exists()


def test_two_syncs_at_once_send_nothing_twice(folder, served):
    done = []
    both = [threading.Thread(target=lambda: done.append(sync(records(), folder, served[0]))) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted((d.created, d.kept) for d in done) == [(0, 3), (3, 0)]
    assert len(cells(served[0], folder)[1]) == 3


def test_a_server_that_goes_away_half_way_gets_the_rest_later(folder, served, monkeypatch, capsys):
    """Connections are refused after the first cells; the run's end is one sentence, and a later sync sends the rest."""
    from mlflow.tracking import MlflowClient

    batches, call = [], MlflowClient.log_batch

    def refused(self, *args, **named):
        batches.append(args)
        if len(batches) > 2:
            raise ConnectionError("connection refused")
        return call(self, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", refused)
        plugin.cfbench_run_finished(records=records(), folder=folder)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"`cfbench mlflow sync {folder}` tries again" in said
    assert not (folder / target.STATE).exists()
    done = CliRunner().invoke(command, ["sync", str(folder)])
    assert done.exit_code == 0, done.output
    found = cells(served[0], folder)[1]
    assert [r.data.params["seed"] for r in found] == ["0", "1", "2"]
    assert {r.info.status for r in found} == {"FINISHED"}


def test_a_server_that_is_down_loses_nothing(folder, served, monkeypatch, capsys):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    plugin.cfbench_run_finished(records=records(), folder=folder)
    assert "the results are safe" in capsys.readouterr().err
    done = CliRunner().invoke(command, ["sync", str(folder), "--tracking-uri", served[0]])
    assert "3 cells written" in done.output
    assert len(cells(served[0], folder)[1]) == 3
