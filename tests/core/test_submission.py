"""Submitting and verifying a real run: what an honest bundle is worth, and how a forged one is found out."""

import json
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from bundles import GO, SMALL, change_json, change_records, change_score, forge, make_run, submit
from tiny import cfbench

from cfbench.cli.bundles import try_plan
from cfbench.cli.remake import Remake
from cfbench.cli.rerun import Comparison
from cfbench.cli.verify import check
from cfbench.records import read_records
from cfbench.registry import load
from cfbench.statistics import interval_of_mean
from cfbench.store import Store
from cfbench.submission.aggregates import SET_METRIC
from cfbench.submission.archive import BundleError, unpack
from cfbench.submission.badges import badges_of
from cfbench.submission.bundle import read_bundle
from cfbench.submission.case_scores import read_scores
from cfbench.submission.checks import Verdict
from cfbench.submission.privacy import Pseudonyms, read_secret


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A real run, its home, and its bundle."""
    where = tmp_path_factory.mktemp("submission")
    run, home = make_run(where)
    return run, home, submit(run, home, where / "out")


@pytest.fixture(scope="module")
def registry():
    return load(("mlflow",))


def faults(path, registry):
    """Return name of check to everything it says, of the checks that found a fault."""
    found = check(read_bundle(path), registry).checks
    return {c.name: " ".join([c.summary, *c.details]) for c in found if c.status == "fault"}


def l1_of(bundle, attribution="flip"):
    """Return the record of L1 of one method."""
    wanted = (r for r in bundle.records if r.metric == "l1" and r.cell.attribution == attribution)
    return next(wanted)


def of_flip(record):
    return record.metric == "l1" and record.cell.attribution == "flip"


def test_an_honest_bundle_has_no_fault(made, registry):
    verdict = check(read_bundle(made[2]), registry)
    assert verdict.good, [c for c in verdict.checks if c.status == "fault"]
    standing = {(n.record.metric, n.standing) for n in verdict.numbers}
    assert standing == {("auc", "set metric"), ("flip", "recomputed"), ("l1", "recomputed")}
    assert set(verdict.badges().values()) == {("self-reported",)}
    summaries = {c.name: c.summary for c in verdict.checks}
    assert SET_METRIC in summaries["set metrics"]


def test_the_same_run_gives_the_same_bytes_and_holds_all_it_should(made, tmp_path):
    run, home, path = made
    assert submit(run, home, tmp_path).read_bytes() == path.read_bytes()
    names = set(unpack(path))
    scores = {name for name in names if name.startswith("scores/")}
    assert names - scores == {
        *("bundle.json", "records.jsonl", "suite.json", "run.json", "costs.json", "ranks.json", "plan.json")
    }
    own = [r for r in read_records(run / "records.jsonl") if r.metric != "auc"]
    assert scores == {f"scores/{r.key}.parquet" for r in own}
    for record in own:
        first = read_scores((run / "scores" / f"{record.key}.parquet").read_bytes(), "own")
        then = read_scores(unpack(path)[f"scores/{record.key}.parquet"], "bundle")
        assert first.case == then.case
        np.testing.assert_array_equal(first.score, then.score)
        np.testing.assert_array_equal(first.grade, then.grade)


def test_nothing_of_the_machine_is_in_it(made):
    run, home, path = made
    for name, data in unpack(path).items():
        for secret in (home, str(run), str(Path.home()), b"\x89PNG"):
            assert (secret if isinstance(secret, bytes) else secret.encode()) not in data, name
    costs = [record.cost for record in read_bundle(path).records]
    assert {cost.host for cost in costs} == {""}
    assert any(cost.seconds > 0 for cost in costs)


def test_a_changed_score_is_found_in_mean_and_ranks(made, registry, tmp_path):
    record = l1_of(read_bundle(made[2]))
    found = faults(forge(made[2], tmp_path / "b.zip", change_score(record.key, 3, 0.001)), registry)
    assert found.keys() == {"aggregates", "ranks"}
    assert "pca / flip" in found["aggregates"]
    assert "l1 of counterfactual: value is" in found["aggregates"]
    assert "pca / flip" in found["ranks"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"value": 0.01}, "value is 0.01; the mean of its per-case scores is"),
        ({"low": 0.0}, "low end of the interval is 0; from its per-case scores it is"),
        ({"high": 0.5}, "high end of the interval"),
        ({"n": 21}, "n is 21; its per-case scores have 18"),
        ({"patients": 1}, "patients is 1;"),
        ({"coverage": 0.9}, "coverage is 0.9"),
        ({"value": -1.0}, "outside the metric's range"),
        ({"low": None, "high": None}, "ends None and None"),
        ({"status": "skipped", "reason": "no"}, "a number, though its status says that there is none"),
        ({"key": None}, "its per-case scores are not in the bundle"),
    ],
)
def test_a_changed_aggregate_is_named(made, registry, tmp_path, fields, words):
    forged = forge(made[2], tmp_path / "b.zip", change_records(of_flip, **fields))
    found = faults(forged, registry)
    assert words in found["aggregates"]
    assert "bones / fracture / pca / flip / seed 0: l1 of counterfactual" in found["aggregates"]


def test_a_forged_record_without_its_digest_is_refused_at_once(made, registry, tmp_path):
    def change(entries):
        entries["records.jsonl"] = entries["records.jsonl"].replace(b'"n": 18', b'"n": 99', 1)

    assert "digest does not fit" in faults(forge(made[2], tmp_path / "b.zip", change), registry)["records"]
    untold = forge(made[2], tmp_path / "c.zip", change, honest_manifest=False)
    assert "records.jsonl: its digest or size is another" in faults(untold, registry)["hashes"]


def _first_place(content):
    column = next(c for c in content if c["metric"] == "l1" and c["view"] == "counterfactual")
    column["tiers"]["truth"] = 1


def _no_difference(content):
    column = next(c for c in content if c["metric"] == "l1" and c["pairs"])
    column["pairs"][0]["p"] = 0.9


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_first_place, "'truth' has a place in spite of: a sentinel"),
        (_no_difference, "the difference of"),
        (lambda content: content.clear(), "its ranks are missing"),
        (lambda content: content[0]["pairs"].clear(), "is missing"),
    ],
)
def test_changed_ranks_are_named(made, registry, tmp_path, edit, words):
    found = faults(forge(made[2], tmp_path / "b.zip", change_json("ranks.json", edit)), registry)
    assert words in found["ranks"]


def test_left_out_and_added_numbers_are_named(made, registry, tmp_path):
    def drop(entries):
        lines = entries["records.jsonl"].splitlines(keepends=True)
        entries["records.jsonl"] = b"".join(line for line in lines if b'"flip", "n"' in line or b"l1" not in line)

    found = faults(forge(made[2], tmp_path / "b.zip", drop), registry)
    assert "planned, and not in the records" in found["plan"]
    assert "no record refers to it" in found["plan"]
    other = change_records(lambda r: r.metric == "l1", metric="l2")
    assert "not planned" in faults(forge(made[2], tmp_path / "c.zip", other), registry)["plan"]


def test_another_suite_under_the_same_hash_is_found(made, registry, tmp_path):
    forged = forge(made[2], tmp_path / "b.zip", change_json("suite.json", lambda s: s.update(cases=19)))
    assert faults(forged, registry).keys() == {"suite"}


def test_other_versions_make_it_stale(made, registry, tmp_path):
    forged = forge(
        made[2], tmp_path / "b.zip", change_json("run.json", lambda r: r["metrics"]["l1"].update(version=99))
    )
    verdict = check(read_bundle(forged), registry)
    assert verdict.good
    badges = verdict.badges()
    assert badges["bones", "fracture", "pca", "flip"] == ("stale", "self-reported")
    (note,) = [c for c in verdict.checks if c.name == "installed"]
    assert (note.status, "version 99 of l1" in note.details[0]) == ("note", True)


def made_again(path, registry, store, scratch, *, cases=4, train=False, names=None):
    bundle = read_bundle(path)
    plan, problem = try_plan(bundle.suite, bundle.about, registry, ())
    assert plan, problem
    remake = Remake(plan, registry, store, scratch / "scratch", cases, 1, train, "cpu", lambda _: None)
    found = Comparison(bundle, remake, 1e-3, names).run()
    first = check(bundle, registry)
    return found, Verdict(bundle, first.checks, first.numbers, first.stale, found)


def test_a_sample_of_cases_is_made_again_and_agrees(made, registry, tmp_path):
    found, verdict = made_again(made[2], registry, Store(Path(made[1]) / "store"), tmp_path)
    assert not found.faults
    by_metric = {(n[1], outcome) for n, outcome in found.outcomes.items()}
    assert by_metric == {("auc", SET_METRIC), ("flip", "agrees"), ("l1", "agrees")}
    assert "4 cases of bones" in found.summary
    assert set(verdict.badges().values()) == {("verified",)}


def test_numbers_of_whole_sets_are_made_again_with_all_cases(made, registry, tmp_path):
    found, _ = made_again(made[2], registry, Store(Path(made[1]) / "store"), tmp_path, cases=0)
    assert set(found.outcomes.values()) == {"agrees"}


def test_scores_that_fit_their_mean_but_not_the_method_are_found(made, registry, tmp_path):
    """The forger made all aggregates again from better scores: only the re-run can tell."""
    record = l1_of(read_bundle(made[2]), None)
    scores = read_bundle(made[2]).scores[record.key]
    better = scores.score / 2
    bounds = interval_of_mean(better, scores.patient)

    def change(entries):
        for line, value in enumerate(better):
            change_score(record.key, line, value)(entries)
        fields = {"value": float(np.nanmean(better)), "low": bounds.low, "high": bounds.high}
        change_records(lambda r: r.key == record.key, **fields)(entries)

    forged = forge(made[2], tmp_path / "b.zip", change)
    assert not faults(forged, registry)
    found, verdict = made_again(forged, registry, Store(Path(made[1]) / "store"), tmp_path)
    assert len(found.faults) == 4
    assert "in the bundle" in found.faults[0]
    assert "when made again" in found.faults[0]
    assert verdict.badges()["bones", None, "pca", None] == ("self-reported",)
    assert verdict.badges()["bones", "fracture", None, "truth"] == ("verified",)


def test_without_what_was_learnt_it_says_that_it_would_train(made, registry, tmp_path):
    found, _ = made_again(made[2], registry, Store(tmp_path / "empty"), tmp_path)
    outcomes = {(n[0].attribution, n[1]): outcome for n, outcome in found.outcomes.items()}
    assert "fit pca on bones" in outcomes["flip", "l1"]
    assert "--train" in outcomes["flip", "l1"]
    assert outcomes["truth", "l1"] == "agrees", "a phantom's truth needs no training"


def test_trained_anew_it_agrees_on_the_same_machine(made, registry, tmp_path):
    found, _ = made_again(made[2], registry, Store(tmp_path / "new"), tmp_path, train=True, cases=2)
    assert {o for n, o in found.outcomes.items() if n[1] != "auc"} == {"agrees"}
    assert not found.faults


def test_other_weights_are_no_fault(made, registry, tmp_path):
    def other(plan):
        for step in plan["steps"].values():
            if step["kind"] == "fit_generator":
                step["weights"] = dict.fromkeys(step["weights"], "0" * 64)

    record = l1_of(read_bundle(made[2]), None)

    def change(entries):
        change_json("plan.json", other)(entries)
        change_score(record.key, slice(None), 0.5)(entries)

    forged = forge(made[2], tmp_path / "b.zip", change)
    found, _ = made_again(forged, registry, Store(Path(made[1]) / "store"), tmp_path)
    outcomes = [o for n, o in found.outcomes.items() if n[0].attribution is None and n[1] == "l1"]  # one per view
    assert any("not to be compared" in outcome for outcome in outcomes)
    assert not found.faults


def test_the_verbs_as_people_type_them(made, tmp_path):
    _, home, path = made
    done = cfbench(*GO, "verify", path, "--rerun", "3", cwd=tmp_path, CFBENCH_HOME=home)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "verified.json").read_text())
    assert told["good"]
    assert told["bundle"] == read_bundle(path).sha256
    assert {badge for row in told["rows"] for badge in row["badges"]} == {"verified"}
    pages = {}
    for name, more in {"plain": [], "trusted": ["--verified", "verified.json"]}.items():
        done = cfbench(*GO, "leaderboard", "build", path, *more, "--out", name, cwd=tmp_path, CFBENCH_HOME=home)
        assert done.returncode == 0, done.stdout + done.stderr
        pages[name] = (tmp_path / name / "index.html").read_text()
    assert ">self-reported</span>" in pages["plain"]
    assert ">self-reported</span>" not in pages["trusted"]
    forged = forge(path, tmp_path / "f.zip", change_records(lambda r: r.metric == "l1", value=0.001))
    done = cfbench(*GO, "verify", forged, cwd=tmp_path, CFBENCH_HOME=home)
    assert done.returncode == 1
    assert "NOT as it says" in done.stdout
    done = cfbench(*GO, "leaderboard", "build", forged, "--out", "no", cwd=tmp_path, CFBENCH_HOME=home)
    assert done.returncode == 2
    assert "value is 0.001" in done.stderr


def test_an_unfinished_run_is_refused_with_the_reason(made, tmp_path):
    run, home, _ = made
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    lines = (copy / "records.jsonl").read_text().splitlines(keepends=True)
    (copy / "records.jsonl").write_text("".join(lines[:-2]))
    next((copy / "scores").iterdir()).unlink()
    done = cfbench(*GO, "submit", copy, cwd=tmp_path, CFBENCH_HOME=home)
    assert done.returncode == 2
    assert "2 of" in done.stderr
    assert "numbers have no record" in done.stderr
    (copy / "run.json").unlink()
    done = cfbench(*GO, "submit", copy, cwd=tmp_path, CFBENCH_HOME=home)
    assert "only a finished run can be submitted" in done.stderr
    assert not list(tmp_path.glob("*.zip"))


@pytest.fixture
def closed(made, tmp_path):
    """The same run, as if its images must not be redistributed."""
    run, home, _ = made
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    about = json.loads((copy / "run.json").read_text())
    about["datasets"]["bones"]["redistributable"] = False
    (copy / "run.json").write_text(json.dumps(about))
    return copy, home, submit(copy, home, tmp_path / "out")


def test_ids_and_labels_of_closed_data_stay_at_home(closed):
    run, _, path = closed
    table = next((run / "scores").iterdir())
    own = read_scores(table.read_bytes(), "own")
    everything = b"".join(unpack(path).values())
    for name in {*own.case, *own.patient}:
        assert name.encode() not in everything
    bundle = read_bundle(path)
    assert all(s.grade is None and s.target is None for s in bundle.scores.values())
    assert len(set(bundle.scores[table.stem].patient)) == len(set(own.patient))
    assert bundle.scores[table.stem].case != sorted(own.case)
    assert stat.S_IMODE((run / "submission.secret").stat().st_mode) == 0o600


def test_closed_data_verify_with_pseudonyms_and_with_the_secret(closed, registry, tmp_path):
    run, home, path = closed
    verdict = check(read_bundle(path), registry)
    assert verdict.good, [c for c in verdict.checks if c.status == "fault"]
    assert submit(run, home, tmp_path / "again").read_bytes() == path.read_bytes()
    store = Store(Path(home) / "store")
    found, _ = made_again(path, registry, store, tmp_path)
    assert all("secret" in o for n, o in found.outcomes.items() if n[1] != "auc")
    names = Pseudonyms(read_secret(run / "submission.secret"))
    found, _ = made_again(path, registry, store, tmp_path, names=names)
    assert {o for n, o in found.outcomes.items() if n[1] != "auc"} == {"agrees"}


def test_badges():
    assert badges_of((), handed_in=False, verified=False) == ()
    assert badges_of((), handed_in=True, verified=True) == ("verified",)
    why = ("circular: judge cnn has the weights of x", "stale: the code has changed")
    assert badges_of(why, handed_in=True, verified=False) == ("stale", "circular", "self-reported")


def test_pseudonyms_depend_on_secret_dataset_and_name():
    one, other = Pseudonyms(b"1"), Pseudonyms(b"2")
    found = {one.of("a", "p1"), one.of("a", "p2"), one.of("b", "p1"), other.of("a", "p1"), one.of("ap", "1")}
    assert len(found) == 5
    assert one.of("a", "p1") == one.of("a", "p1")


def test_a_bundle_of_another_kind_of_file_is_no_bundle(tmp_path):
    path = tmp_path / "x.zip"
    path.write_text("hello")
    with pytest.raises(BundleError, match="not a bundle"):
        read_bundle(path)


@pytest.mark.slow
def test_ranks_over_seeds_are_made_again(registry, tmp_path):
    run, home = make_run(tmp_path, SMALL + "seeds: [0, 1]\n")
    path = submit(run, home, tmp_path / "out")
    assert not faults(path, registry)
    bundle = read_bundle(path)
    assert any(column["intervals"] for column in bundle.ranks)
    record = next(r for r in bundle.records if r.metric == "l1" and r.cell.seed == 1 and r.cell.attribution == "flip")
    assert "ranks" in faults(forge(path, tmp_path / "b.zip", change_score(record.key, 0, 0.9)), registry)
