"""The program as people use it: real processes, real phantoms, real kills."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from tiny import TINY, cfbench, start, write_suite

from cfbench.records import read_records, records_digest

GO = ("-p", "no:mlflow")


def run_folder(where: Path) -> Path:
    (folder,) = (where / "runs" / "tiny").iterdir()
    return folder


def digest(where: Path) -> str:
    return records_digest(read_records(run_folder(where) / "records.jsonl"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run: its folder, its home, and what it printed."""
    where = tmp_path_factory.mktemp("finished")
    write_suite(where)
    home = str(where / "home")
    return where, home, cfbench(*GO, "run", "tiny.yaml", "--offline", cwd=where, CFBENCH_HOME=home)


def test_a_run_prints_tables_and_writes_records_pictures_and_a_page(finished):
    where, _, done = finished
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("Reconstruction · bones", "Detection and grading", "Counterfactuals", "Sweep over grades", "look at"):
        assert words in done.stdout
    folder = run_folder(where)
    records = read_records(folder / "records.jsonl")
    assert {r.status for r in records} == {"ok", "skipped", "undefined"}
    assert all(r.reason for r in records if r.status != "ok")
    cells = json.loads((folder / "gallery" / "index.json").read_text())["cells"]
    pictures = [p for cell in cells for item in cell["items"] for p in item["images"].values()]
    assert pictures
    assert all((folder / "gallery" / p).is_file() for p in pictures)
    assert (folder / "leaderboard" / "index.html").is_file()


def test_what_an_audit_warns_of_is_printed_and_kept(tmp_path):
    write_suite(tmp_path)
    changes = ("datasets.bones.patients=60", "metrics=[truth-error]")
    done = cfbench(*GO, "run", "tiny.yaml", "--offline", *changes, cwd=tmp_path, CFBENCH_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads((run_folder(tmp_path) / "audit-bones.json").read_text())["findings"]
    warned = {finding["name"]: finding["sentence"] for finding in findings if finding["level"] == "warn"}
    assert "class-balance" in warned  # so few patients leave a grade out of a split
    assert all(
        f"note: the audit of bones: {sentence} (audit-bones.json)" in done.stdout for sentence in warned.values()
    )


def by(records, metric, attribution):
    return next(r for r in records if r.metric == metric and r.cell.attribution == attribution)


def test_the_numbers_tell_planted_truth(finished):
    records = read_records(run_folder(finished[0]) / "records.jsonl")
    assert by(records, "truth-error", "truth").value == 0
    assert by(records, "l1", "identity").value == 0
    assert by(records, "ssim", "identity").value == pytest.approx(1)
    assert by(records, "truth-error", "identity").value == pytest.approx(by(records, "l1", "truth").value)
    assert "50 lines" in by(records, "fd-judge", "identity").reason
    auc = by(records, "auc", "flip")
    assert 0.6 < auc.value <= 1
    assert auc.low <= auc.value <= auc.high
    assert auc.patients < auc.n == 40
    assert by(records, "grade-error", "sweep").n == 160
    kid = {r.view: r for r in records if r.metric == "kid-judge" and r.cell.attribution is None}
    assert kid["sample"].status == "ok", "PCA draws images from the Gaussian of its codes"
    assert (kid["sample"].n, kid["sample"].unit) == (40, "image")


def test_a_run_says_what_its_judge_is_worth(finished):
    where, _, done = finished
    (judge,) = json.loads((run_folder(where) / "run.json").read_text(encoding="utf-8"))["classifiers"]
    assert (judge["dataset"], judge["task"], judge["role"], judge["name"]) == ("bones", "fracture", "judge", "cnn")
    assert judge["patients"] <= judge["cases"] < 40, "cases of the grade that takes no part in fits are left out"
    assert judge["low"] <= judge["auc"] <= judge["high"]
    assert 0 <= judge["calibration_error"] <= 1
    assert "What the judges are worth" in done.stdout
    page = (run_folder(where) / "leaderboard" / "index.html").read_text(encoding="utf-8")
    assert "What the judges are worth" in page


def test_counterfactuals_are_held_against_real_images_of_the_grades_that_were_asked_for(finished):
    found = [r for r in read_records(run_folder(finished[0]) / "records.jsonl") if r.metric == "kid-judge"]
    told = {(r.cell.attribution, r.view) for r in found if any("weighted to the grades" in note for note in r.notes)}
    assert told == {(name, "counterfactual") for name in ("flip", "identity", "truth")}
    assert by(found, "kid-judge", "identity").value > 0, (
        "unweighted, the unbiased distance of a set to itself is below 0"
    )


def test_running_again_computes_nothing_and_agrees(finished):
    where, home, _ = finished
    before = digest(where)
    done = cfbench(*GO, "run", "tiny.yaml", "--offline", cwd=where, CFBENCH_HOME=home)
    assert done.returncode == 0
    assert " 0 steps computed" in done.stdout
    assert digest(where) == before


def test_plan_shows_what_is_done_and_what_a_change_would_cost(finished):
    where, home, _ = finished
    assert "to do" not in cfbench(*GO, "plan", "tiny.yaml", "--steps", cwd=where, CFBENCH_HOME=home).stdout
    changed = cfbench(*GO, "plan", "tiny.yaml", "--steps", "attributions.flip.C=0.5", cwd=where, CFBENCH_HOME=home)
    todo = [line for line in changed.stdout.splitlines() if "to do" in line]
    assert todo
    assert not any("fit pca" in line or "train judge" in line for line in todo)


def test_score_adds_a_metric_without_generating(finished):
    where, home, _ = finished
    folder = run_folder(where)
    before, told = len(read_records(folder / "records.jsonl")), json.loads((folder / "run.json").read_text())
    done = cfbench(*GO, "score", folder, "outside-change", cwd=where, CFBENCH_HOME=home)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "run.json").read_text())["classifiers"] == told["classifiers"], "they stay"
    records = read_records(folder / "records.jsonl")
    assert len(records) > before
    assert by(records, "outside-change", "truth").value == 0
    again = cfbench(*GO, "run", "tiny.yaml", "--offline", cwd=where, CFBENCH_HOME=home)
    assert again.returncode == 0
    assert by(read_records(folder / "records.jsonl"), "outside-change", "truth").value == 0, (
        "run keeps what score added"
    )


def test_score_makes_no_image_that_is_not_stored(finished, tmp_path):
    where, home, _ = finished
    shutil.copytree(where / "runs", tmp_path / "runs")
    shutil.copytree(home, tmp_path / "home")
    for kind in ("explain", "judge", "gallery", "measure"):
        shutil.rmtree(tmp_path / "home" / "store" / kind)
    folder = run_folder(tmp_path)
    done = cfbench(*GO, "score", folder, "ms-ssim-3scale", "l1", cwd=tmp_path, CFBENCH_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "explain" not in {line.split()[1] for line in done.stdout.splitlines() if line.startswith("[")}
    skipped = by(read_records(folder / "records.jsonl"), "l1", "flip")
    assert skipped.status == "skipped"
    assert "not stored" in skipped.reason
    assert json.loads((folder / "gallery" / "index.json").read_text())["cells"], "the pictures stay"


def test_the_leaderboard_is_made_from_records_alone(finished, tmp_path):
    where, _, _ = finished
    done = cfbench("leaderboard", "build", run_folder(where), "--out", tmp_path / "site", "--print", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Counterfactuals" in done.stdout
    assert "What the judges are worth" in done.stdout
    assert (tmp_path / "site" / "index.html").is_file()


def test_killed_at_any_moment_it_resumes_to_the_same_records(finished, tmp_path):
    where, _, _ = finished
    write_suite(tmp_path)
    home = str(tmp_path / "home")
    for seconds in (2.5, 4.0, 3.0, 5.0):
        process = start(*GO, "run", "tiny.yaml", "--offline", cwd=tmp_path, CFBENCH_HOME=home)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = cfbench(*GO, "run", "tiny.yaml", "--offline", cwd=tmp_path, CFBENCH_HOME=home)
    assert done.returncode == 0, done.stdout
    run = read_records(run_folder(tmp_path) / "records.jsonl")
    whole = [r for r in read_records(run_folder(where) / "records.jsonl") if r.metric != "outside-change"]
    assert records_digest(run) == records_digest(whole)
    assert not [p for p in (tmp_path / "home").rglob(".*") if p.is_dir()], "no half-written artifact is left"


def test_a_killed_worker_loses_its_step_and_its_dependants_only(tmp_path):
    write_suite(tmp_path, TINY.replace("steps: 30", "steps: 100000"))
    home = tmp_path / "home"
    process = start(*GO, "run", "tiny.yaml", "--offline", "-x", "cores=2", cwd=tmp_path, CFBENCH_HOME=str(home))
    assert _kill_worker_training_the_judge(tmp_path)
    assert process.wait(timeout=300) == 1
    records = read_records(run_folder(tmp_path) / "records.jsonl")
    failed = {r.metric for r in records if r.status == "failed"}
    assert failed == {"flip", "grade-error", "fd-judge", "kid-judge"}
    assert all("killed by SIGKILL" in r.reason for r in records if r.status == "failed")
    assert by(records, "auc", "flip").status == "ok"


def _kill_worker_training_the_judge(where: Path) -> bool:
    for _ in range(1200):
        for events in where.glob("runs/tiny/*/jobs/fit_judge-*.events"):
            if '"progress"' in events.read_text():
                return _kill_holder(events, _forked())
        time.sleep(0.1)
    return False


def _forked() -> list[int]:
    """Return the processes that came out of a fork server."""
    found = []
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it may have ended by now
            if b"forkserver" in command.read_bytes():
                found.append(int(command.parent.name))
    return found


def _kill_holder(events: Path, candidates: list[int]) -> bool:
    """Kill the process that has this event file open."""
    for pid in candidates:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            if link.exists() and link.readlink() == events:
                os.kill(pid, signal.SIGKILL)
                return True
    return False


def test_two_runs_at_once_share_the_work_and_agree(finished, tmp_path):
    where, _, _ = finished
    write_suite(tmp_path)
    home = str(tmp_path / "home")
    other = start(*GO, "run", "tiny.yaml", "--offline", cwd=tmp_path, CFBENCH_HOME=home)
    one = cfbench(*GO, "run", "tiny.yaml", "--offline", cwd=tmp_path, CFBENCH_HOME=home)
    assert other.wait(timeout=300) == 0
    assert one.returncode == 0
    whole = [r for r in read_records(run_folder(where) / "records.jsonl") if r.metric != "outside-change"]
    assert digest(tmp_path) == records_digest(whole)


def test_a_damaged_picture_is_made_again(finished, tmp_path):
    where, home, _ = finished
    shutil.copytree(where / "runs", tmp_path / "runs")
    shutil.copytree(home, tmp_path / "home")
    write_suite(tmp_path)
    for picture in list((tmp_path / "home" / "store" / "gallery").rglob("*.png"))[:1]:
        picture.write_bytes(picture.read_bytes() + b"x")
    done = cfbench(*GO, "run", "tiny.yaml", "--offline", cwd=tmp_path, CFBENCH_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 1 steps computed" in done.stdout


def test_a_damaged_artifact_is_made_again(tmp_path):
    write_suite(tmp_path, TINY.replace("judges:\n  cnn: {use: cnn, steps: 30}\n", ""))
    home = tmp_path / "home"
    assert cfbench(*GO, "run", "tiny.yaml", cwd=tmp_path, CFBENCH_HOME=str(home)).returncode == 0
    before = digest(tmp_path)
    for kind in ("encode", "measure"):
        for file in (home / "store" / kind).rglob("*.safetensors" if kind == "encode" else "result.json"):
            data = bytearray(file.read_bytes())
            data[len(data) // 2] ^= 1
            file.write_bytes(bytes(data))
    done = cfbench(*GO, "run", "tiny.yaml", cwd=tmp_path, CFBENCH_HOME=str(home))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 steps computed" not in done.stdout
    assert digest(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.yaml"], "cannot be read"),
        (["run", "tiny.yaml", "generators.pca.zdim=3"], "did you mean 'z_dim'"),
        (["run", "tiny.yaml", "--runs", "/proc/nowhere"], "cannot be written"),
        (["run", "tiny.yaml", "--executor", "locl"], "did you mean 'local'"),
        (["score", ".", "l1"], "not the folder of a run"),
        (["plugins", "dea"], "did you mean 'dae'"),
        (["data", "fetch", "retinamnis"], "did you mean 'retinamnist'"),
        (["runn"], "No such command"),
        (["-p", "pca", "plan", "tiny.yaml"], "no:NAME"),
    ],
)
def test_bad_usage_is_one_message_and_exit_code_2(tmp_path, arguments, words):
    write_suite(tmp_path)
    done = cfbench(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_fails_with_a_message_and_goes_on_when_there_is_room(tmp_path):
    """A file-size limit stands in for a full disk: the store's larger files cannot be written."""
    write_suite(tmp_path)
    home = str(tmp_path / "home")
    limited = f"ulimit -f 40; exec {sys.executable} -m cfbench -p no:mlflow run tiny.yaml"
    done = subprocess.run(
        ["bash", "-c", limited],
        cwd=tmp_path,
        env={**os.environ, "CFBENCH_HOME": home, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "cannot be written" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    done = cfbench(*GO, "run", "tiny.yaml", cwd=tmp_path, CFBENCH_HOME=home)
    assert done.returncode == 0, done.stdout + done.stderr


def test_changed_plugin_code_is_told_and_made_again_on_demand(tmp_path):
    """A result that other code made is shown with a mark, never silently re-used."""
    site = tmp_path / "site"
    (site / "my-1.dist-info").mkdir(parents=True)
    (site / "my-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: my\nVersion: 1\n")
    (site / "my-1.dist-info" / "entry_points.txt").write_text("[cfbench]\nmine = mine\n")
    code = (
        "from cfbench.hookspecs import hookimpl\nfrom cfbench.specs import MetricSpec\n"
        "@hookimpl\ndef cfbench_metrics():\n"
        "    return [MetricSpec(name='mine', factory='mine:M', kind='case', views=('counterfactual',), summary='s',\n"
        "            direction='none')]\n"
        "class M:\n    def __init__(self, p): pass\n"
        "    def score(self, view, context): return view.grade * 0 + 1\n"
    )
    (site / "mine.py").write_text(code)
    text = "suite: tiny\ndatasets: {d: {use: vertebra-phantom, size: 16, patients: 20}}\n"
    text += "tasks: {t: {label: genant, kind: ordinal, grades: [0, 1, 2, 3], positive: [2, 3]}}\n"
    write_suite(tmp_path, text + "attributions: {identity: {use: identity}}\nmetrics: [mine]\ngallery: 0\n")
    go = {"cwd": tmp_path, "CFBENCH_HOME": str(tmp_path / "home"), "PYTHONPATH": str(site)}

    def only():
        (one,) = read_records(run_folder(tmp_path) / "records.jsonl")
        return one

    assert cfbench(*GO, "run", "tiny.yaml", **go).returncode == 0
    assert (only().value, only().unranked) == (1, ())
    (site / "mine.py").write_text("# a comment changes nothing\n" + code)
    cfbench(*GO, "run", "tiny.yaml", **go)
    assert only().unranked == ()
    (site / "mine.py").write_text(code.replace("* 0 + 1", "* 0 + 2"))
    cfbench(*GO, "run", "tiny.yaml", **go)
    assert only().value == 1
    assert "stale: the code of mine has changed" in only().unranked[0]
    done = cfbench(*GO, "run", "tiny.yaml", "--recompute", "mine", **go)
    assert done.returncode == 0, done.stderr
    assert (only().value, only().unranked) == (2, ())


SMALL = """\
suite: tiny
datasets: {d: {use: vertebra-phantom, size: 16, patients: 40}}
tasks: {t: {label: genant, kind: ordinal, grades: [0, 1, 2, 3], positive: [2, 3]}}
generators: {pca: {use: pca, z_dim: 4}}
attributions: {flip: {use: hyperplane, probe: logistic}}
metrics: [auc, l1]
cases: 10
gallery: 0
"""


def test_workers_in_fresh_interpreters_agree_with_forked_ones(tmp_path):
    """The way that jobs run on GPUs, tried on a CPU."""
    write_suite(tmp_path, SMALL)
    assert cfbench(*GO, "run", "tiny.yaml", cwd=tmp_path, CFBENCH_HOME=str(tmp_path / "one")).returncode == 0
    forked = digest(tmp_path)
    fresh = ("--device", "cpu", "-x", "gpus=0")
    done = cfbench(*GO, "run", "tiny.yaml", *fresh, cwd=tmp_path, CFBENCH_HOME=str(tmp_path / "two"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 re-used" in done.stdout
    assert digest(tmp_path) == forked


def test_a_home_that_cannot_be_written_is_told(tmp_path):
    write_suite(tmp_path, SMALL)
    (tmp_path / "file").write_text("in the way")
    done = cfbench(*GO, "run", "tiny.yaml", cwd=tmp_path, CFBENCH_HOME=str(tmp_path / "file"))
    assert done.returncode in (1, 2)
    assert "cannot be written" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("workers", [(), ("--device", "cpu", "-x", "gpus=0")], ids=["forked", "fresh"])
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_run_that_ends_leaves_no_worker(tmp_path, how, code, workers):
    write_suite(tmp_path, TINY.replace("steps: 30", "steps: 100000"))
    process = start(*GO, "run", "tiny.yaml", "--offline", *workers, cwd=tmp_path, CFBENCH_HOME=str(tmp_path / "home"))
    for _ in range(900):
        if any('"progress"' in e.read_text() for e in tmp_path.glob("runs/tiny/*/jobs/fit_judge-*.events")):
            break
        time.sleep(0.1)
    process.send_signal(how)
    assert process.wait(timeout=20) == code
    time.sleep(1.5)
    mine = [p for p in Path("/proc").glob("[0-9]*/fd/*") if _points_into(p, tmp_path)]
    assert not mine, "a worker still has files of this run open"


def _points_into(link: Path, folder: Path) -> bool:
    try:
        return link.readlink().is_relative_to(folder)
    except OSError:
        return False
