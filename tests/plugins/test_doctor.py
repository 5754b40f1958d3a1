"""What `cfbench doctor metrics` expects of a metric, and what becomes of one that fails."""

import json

import numpy as np
import pandas as pd
import pytest

from cfbench.registry import load
from cfbench.specs import MetricSpec
from cfbench.suite import suite_from_config
from cfbench_doctor import plugin
from cfbench_doctor.orderings import barred, orderings
from cfbench_doctor.report import markdown, table
from cfbench_doctor.trial import ANSWERS, trial
from cfbench_doctor.validity import correlations


def group(metric="flip", view="counterfactual", **pairs):
    """The ranks of one column: sentinel to (difference sentinel - truth, p)."""
    found = [{"a": name, "b": "truth", "difference": d, "low": 0, "high": 0, "p": p} for name, (d, p) in pairs.items()]
    return {"dataset": "bones", "task": "t", "view": view, "metric": metric, "pairs": found}


@pytest.mark.parametrize(
    ("direction", "difference", "p", "prefers"),
    [
        ("higher", 0.3, 0.001, "sentinel"),
        ("higher", -0.3, 0.001, "truth"),
        ("lower", 0.3, 0.001, "truth"),
        ("lower", -0.3, 0.001, "sentinel"),
        ("higher", 0.3, 0.2, "tie"),
        ("lower", 0.0, 0.001, "tie"),
    ],
)
def test_a_preference_follows_direction_and_significance(direction, difference, p, prefers):
    (found,) = orderings([group(identity=(difference, p))], {"flip": direction})["flip"]
    assert (found.sentinel, found.prefers) == ("identity", prefers)


def test_the_order_in_which_a_pair_is_written_does_not_matter():
    turned = group(identity=(0.3, 0.001))
    turned["pairs"] = [{**turned["pairs"][0], "a": "truth", "b": "identity", "difference": -0.3}]
    (one,) = orderings([group(identity=(0.3, 0.001))], {"flip": "higher"})["flip"]
    (other,) = orderings([turned], {"flip": "higher"})["flip"]
    assert one == other


def test_p_values_are_corrected_over_all_orderings_of_a_metric():
    """Of 25 tests of nothing, one at .03 is what chance gives; one at .0003 is not."""
    ties = {f"blur{i}": (0.1, 0.5) for i in range(24)}
    for p, prefers in ((0.03, "tie"), (0.0003, "sentinel")):
        found = orderings([group(identity=(0.3, p), **ties)], {"flip": "higher"})["flip"]
        (one,) = [o for o in found if o.sentinel == "identity"]
        assert (one.prefers, one.p) == (prefers, pytest.approx(p * 25))
        assert all(o.prefers == "tie" for o in found if o is not one)


def test_pairs_without_the_truth_say_nothing_and_maps_have_their_own_truth():
    pairs = group(blur=(0.1, 0.01))
    pairs["pairs"][0]["b"] = "identity"
    assert orderings([pairs], {"flip": "higher"}) == {}
    maps = group(view="map")
    maps["pairs"] = [{"a": "edge-map", "b": "truth-map", "difference": 0.2, "p": 0.001}]
    (found,) = orderings([maps], {"flip": "higher"})["flip"]
    assert found.prefers == "sentinel"


def test_what_prefers_a_sentinel_is_barred_in_the_roles_that_are_held_to_the_truth():
    found = orderings([group(adversarial=(0.3, 0.001), identity=(-1, 0.001))], {"flip": "higher"})["flip"]
    for role in ("validity", "realism", "localisation"):
        assert "adversarial on bones" in barred("flip", role, found)
    for role in ("proximity", "prediction", "other"):
        assert barred("flip", role, found) == ""
    assert barred("flip", "validity", found[1:]) == ""


def test_the_table_tells_verdict_orderings_and_correlation():
    spec = MetricSpec(
        name="flip",
        factory="a:b",
        summary="s",
        kind="case",
        views=("counterfactual",),
        direction="higher",
        role="validity",
    )
    found = orderings([group(adversarial=(0.3, 0.001), identity=(-1, 0.001), blur=(0, 1.0))], {"flip": "higher"})
    (row,) = table({"flip": spec}, found, {"flip": {"bones": 0.5, "chests": 0.7}}, {"flip": "it prefers"})
    assert row[2] == "barred"
    assert row[3] == "1 of 3 right; prefers adversarial (1); cannot tell blur (1)"
    assert row[4] == "+0.60 [+0.50, +0.70]"
    assert markdown([row]).count("|") == 18


def scores(root, key, values):
    (root / key).mkdir()
    cases = [f"c{i}" for i in range(len(values))]
    pd.DataFrame({"case": cases, "target": 1.0, "score": values}).to_parquet(root / key / "scores.parquet")


def test_correlations_are_turned_so_that_one_is_right(tmp_path):
    error = np.linspace(0, 1, 20)
    scores(tmp_path, "error", error)
    scores(tmp_path, "distance", error**2)
    scores(tmp_path, "agreement", 1 - error)
    names = {"truth-error": "error", "d": "distance", "a": "agreement"}
    answers = [("bones", name, "blur", tmp_path / folder) for name, folder in names.items()]
    found = correlations(answers, {"truth-error": "lower", "d": "lower", "a": "higher"})
    assert found == {"d": {"bones": pytest.approx(1.0)}, "a": {"bones": pytest.approx(1.0)}}
    assert correlations(answers, {"d": "higher", "a": "lower"})["d"]["bones"] == pytest.approx(-1.0)


def test_the_trial_is_a_sound_suite_over_every_phantom():
    registry = load()
    suite = suite_from_config(trial(registry, ["flip", "ssim", "truth-error"], 30), registry)
    assert {"vertebra-phantom", "chest-phantom", "fundus-phantom", "disc-phantom"} <= set(suite.datasets)
    assert set(ANSWERS) <= set(suite.attributions)
    assert len(suite.tasks) == len(suite.datasets)
    for name in ("nearest", "class-mean"):
        assert suite.attributions[name].component.params.match == "grade"


def test_a_verdict_of_this_machine_counts_more_than_a_shipped_one_and_only_for_its_version(monkeypatch, tmp_path):
    shipped = tmp_path / "shipped.json"
    shipped.write_text(json.dumps({"metrics": {"l1": {"version": 1, "barred": "shipped"}}}))
    monkeypatch.setattr(plugin, "SHIPPED", shipped)
    registry = load()
    assert registry.barred()["l1"] == "shipped"
    plugin.own_file().parent.mkdir(parents=True)
    plugin.own_file().write_text(json.dumps({"metrics": {"l1": {"version": 1, "barred": ""}}}))
    assert "l1" not in registry.barred()
    plugin.own_file().write_text(json.dumps({"metrics": {"l1": {"version": 99, "barred": "of another version"}}}))
    assert "l1" not in registry.barred()
    plugin.own_file().write_text("not JSON")
    assert registry.barred()["l1"] == "shipped"
