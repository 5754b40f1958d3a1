import json

import pytest

from cfbench.errors import StoreError
from cfbench.records import Cell, Cost, Record, flat_params, from_json, read_records, records_digest

CELL = Cell(dataset="d", task="t", generator=None, attribution="a", seed=0)


def record(**changes):
    values = {
        "suite": "s",
        "cell": CELL,
        "metric": "auc",
        "view": "probe",
        "status": "ok",
        "value": 0.5,
        "notes": ("n",),
    }
    return Record(**{**values, **changes})


def test_a_record_survives_its_line():
    one = record(low=0.4, high=0.6, cost=Cost(seconds=3.0))
    assert from_json(one.to_json()) == one


def test_the_digest_covers_the_result_and_not_its_cost():
    assert record(cost=Cost(seconds=1)).sha256 == record(cost=Cost(seconds=2)).sha256
    assert record(value=0.5000001).sha256 != record().sha256
    assert records_digest([record(), record(metric="f1")]) == records_digest([record(metric="f1"), record()])


def test_a_tampered_line_is_named(tmp_path):
    data = json.loads(record().to_json())
    data["value"] = 0.99
    path = tmp_path / "records.jsonl"
    path.write_text(record().to_json() + "\n" + json.dumps(data) + "\n")
    with pytest.raises(StoreError, match=r"records\.jsonl:2.*digest"):
        read_records(path)


@pytest.mark.parametrize("line", ["", "{}", "[]", "null", '{"sha256": 3}', "not json"])
def test_other_lines_are_no_records(line):
    with pytest.raises(StoreError):
        from_json(line)


@pytest.mark.parametrize("change", [{"value": "<b>x</b>"}, {"status": "great"}, {"notes": (3,)}, {"reason": None}])
def test_wrong_types_are_refused_even_with_a_fitting_digest(change):
    with pytest.raises(StoreError, match="wrong type"):
        from_json(record(**change).to_json())


def test_a_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / "records.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match="UTF-8"):
        read_records(tmp_path / "records.jsonl")


def test_nan_is_never_written():
    with pytest.raises(ValueError, match="JSON"):
        record(value=float("nan")).to_json()


def test_flat_params():
    assert flat_params({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
