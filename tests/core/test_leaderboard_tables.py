import re

import pytest
from board import HOSTILE, record

from cfbench.leaderboard.cells import ABSENT, IMAGE_UNIT, Cell, pool
from cfbench.leaderboard.table import group_of, tables
from cfbench.leaderboard.text import decimals, number, paragraphs, plain, slug

# Tables


def test_views_are_grouped_and_the_order_of_records_does_not_matter():
    records = [
        record("flip", "counterfactual"),
        record("auc", "probe"),
        record("ssim", "reconstruction", task=None, attribution=None),
        record("composition-1", "composition 1"),
    ]
    found = tables(records)
    assert [t.title for t in found] == ["Detection and grading", "Reconstruction", "Counterfactuals", "Other views"]
    assert found == tables(reversed(records))


def test_every_row_has_every_column_and_a_reason_where_a_number_is_missing():
    records = [
        record("auc", attribution="a"),
        record("auc", attribution="b", status="skipped", reason="needs a latent space"),
        record("f1", attribution="c", status="failed", reason="killed"),
        record("f1", attribution="d", status="undefined", reason="one class only"),
    ]
    (table,) = tables(records)
    assert [c.metric for c in table.columns] == ["auc", "f1"]
    metrics = [column.metric for column in table.columns]
    cells = {(r.attribution, m): cell for r in table.rows for m, cell in zip(metrics, r.cells, strict=True)}
    assert len(cells) == 8
    assert all(cell.reason for cell in cells.values() if cell.value is None)
    assert [cells[k].status for k in (("b", "auc"), ("c", "f1"), ("d", "f1"), ("a", "f1"))] == [
        "skipped",
        "failed",
        "undefined",
        "absent",
    ]


def test_one_seed_keeps_its_interval():
    cell = pool([record(value=0.8, low=0.7, high=0.85)])
    assert (cell.value, cell.low, cell.high, cell.interval, cell.spread) == (0.8, 0.7, 0.85, "bootstrap", None)


def test_several_seeds_show_mean_and_range_and_no_interval():
    cell = pool([record(value=v, seed=i, n=20 - i) for i, v in enumerate((0.5, 0.6, 0.1))])
    assert cell.value == pytest.approx(0.4)
    assert (cell.low, cell.high, cell.spread, cell.seeds, cell.n) == (None, None, (0.1, 0.6), 3, 18)


def test_a_seed_that_failed_is_told_beside_the_mean_of_the_others():
    cell = pool([record(value=0.5), record(seed=1, status="failed", reason="out of memory")])
    assert (cell.status, cell.value, cell.low, cell.seeds) == ("partial", 0.5, None, 1)
    assert "seed 1 failed: out of memory" in cell.reason


def test_a_failure_is_not_hidden_behind_a_skip():
    cell = pool([record(status="skipped", reason="no weights"), record(seed=1, status="failed", reason="killed")])
    assert (cell.status, cell.reason) == ("failed", "killed")


def test_the_last_record_of_a_number_counts():
    (table,) = tables([record(status="failed", reason="killed"), record(value=0.9)])
    assert table.rows[0].cells[0].value == 0.9


def test_notes_tell_of_images_as_units_and_of_low_coverage():
    assert pool([record(unit="image")]).notes == (IMAGE_UNIT,)
    assert pool([record(unit="image", notes=("image is the unit: patients unknown",))]).notes == (
        "image is the unit: patients unknown",
    )
    assert pool([record()]).notes == ()


def test_a_seed_that_is_not_ranked_bars_the_row():
    assert pool([record(), record(seed=1, unranked=("circular",))]).unranked == ("circular",)


def test_directions_that_disagree_are_no_direction():
    (table,) = tables([record(direction="higher"), record(direction="lower", attribution="b")])
    assert table.columns[0].direction == "none"


def test_what_a_run_says_of_its_metrics_tells_detection_from_grading_and_localisation():
    about = {
        "auc": {"role": "prediction", "needs": ["score"]},
        "mae": {"role": "prediction", "needs": ["grade"]},
        "auprc": {"role": "localisation", "needs": ["mask"]},
        "broken": "not a mapping",
    }
    assert group_of("probe", "auc", about) == "Detection"
    assert group_of("probe", "mae", about) == "Grading"
    assert group_of("counterfactual", "auprc", about) == "Localisation"
    assert group_of("probe", "broken", about) == group_of("probe", "f1", {}) == "Detection and grading"


def test_a_row_without_a_record_is_absent():
    assert pool([]) == ABSENT == Cell(status="absent", reason=ABSENT.reason)


# Text


@pytest.mark.parametrize(
    ("values", "places"), [([0.98, 0.1], 3), ([134.2, 46.0], 1), ([12.5], 2), ([0.021], 4), ([12345.0], 0), ([], 0)]
)
def test_decimals_show_three_digits_of_the_largest(values, places):
    assert decimals(values) == places


def test_numbers_never_vanish():
    assert number(0.00001, 3) == "1.0e\N{MINUS SIGN}05"
    assert number(-1.5, 2) == "\N{MINUS SIGN}1.50"
    assert number(None) == number(float("nan")) == "–"


def test_plain_text_is_one_visible_line_of_bounded_length():
    assert plain("a\n\t b") == "a b"
    assert "\u202e" not in plain("\u202egnp")
    assert len(plain("x" * 10_000_000)) <= 600


@pytest.mark.parametrize("name", [*HOSTILE, "", "…", "CON/nul", "Ünï"])
def test_slugs_are_file_names(name):
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,59}", slug(name))


def test_longer_text_keeps_its_paragraphs_and_nothing_invisible():
    assert paragraphs("a\nb\n\n\n\N{RIGHT-TO-LEFT OVERRIDE}c\n\n \n\nd") == ["a b", "\N{REPLACEMENT CHARACTER}c", "d"]
    assert sum(map(len, paragraphs("y " * 10**6))) <= 8000
