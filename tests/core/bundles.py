"""A small real run with its bundle, and ways to forge bundles, for the tests of submissions."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from tiny import cfbench, write_suite

from cfbench.records import from_json, records_digest
from cfbench.submission.archive import pack, unpack
from cfbench.submission.case_scores import read_scores, write_scores

SMALL = """\
suite: small
datasets:
  bones: {use: vertebra-phantom, size: 20, patients: 90}
tasks:
  fracture: {label: genant, kind: ordinal, grades: [0, 1, 2, 3], positive: [2, 3], exclude_from_fit: [1]}
generators:
  pca: {use: pca, z_dim: 8}
attributions:
  flip: {use: hyperplane, probe: logistic}
  identity: {use: identity}
  truth: {use: truth}
judges:
  cnn: {use: cnn, steps: 10}
metrics: [auc, flip, l1]
cases: 20
gallery: 0
"""
GO = ("-p", "no:mlflow")


def make_run(where: Path, text: str = SMALL) -> tuple[Path, str]:
    """Run a suite for real; return the folder of the run and its home."""
    home = str(where / "home")
    done = cfbench(*GO, "run", write_suite(where, text, "small.yaml"), "--offline", cwd=where, CFBENCH_HOME=home)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (where / "runs" / "small").iterdir()
    return run, home


def submit(run: Path, home: str, out: Path) -> Path:
    """Write a run's bundle into a folder and return it."""
    done = cfbench(*GO, "submit", run, "--out", out, cwd=run, CFBENCH_HOME=home)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.zip")
    return path


def forge(bundle: Path, out: Path, change, *, honest_manifest: bool = True) -> Path:
    """Write a changed bundle whose digests fit again: what somebody would hand in who wants to be believed."""
    entries = dict(unpack(bundle))
    change(entries)
    manifest = json.loads(entries["bundle.json"])
    if honest_manifest:
        files = {
            n: {"sha256": sha256(d).hexdigest(), "bytes": len(d)} for n, d in entries.items() if n != "bundle.json"
        }
        manifest["files"] = files
        try:
            records = [from_json(line) for line in entries["records.jsonl"].decode().splitlines()]
            manifest["records_digest"] = records_digest(records)
        except Exception:  # noqa: BLE001, S110 - records that are none are part of what is tested
            pass
    entries["bundle.json"] = json.dumps(manifest).encode()
    out.write_bytes(pack(entries))
    return out


def change_json(name, edit):
    """Return a change of one JSON entry."""

    def change(entries):
        content = json.loads(entries[name])
        edit(content)
        entries[name] = json.dumps(content).encode()

    return change


def change_records(choose, **fields):
    """Return a change of the first record that is chosen, its digest made to fit."""

    def change(entries):
        records = [from_json(line) for line in entries["records.jsonl"].decode().splitlines()]
        index = next(i for i, record in enumerate(records) if choose(record))
        records[index] = replace(records[index], **fields)
        entries["records.jsonl"] = "".join(f"{record.to_json()}\n" for record in records).encode()

    return change


def change_score(key, line, value):
    """Return a change of one line's score."""

    def change(entries):
        name = f"scores/{key}.parquet"
        scores = read_scores(entries[name], name)
        changed = scores.score.copy()
        changed[line] = value
        entries[name] = write_scores(replace(scores, score=changed))

    return change
