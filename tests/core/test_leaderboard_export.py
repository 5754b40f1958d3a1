import csv
import io
import json
import re
import shutil
import subprocess

import pytest
from board import HOSTILE, record, write_run

from cfbench.leaderboard.export import FORMATS, export, to_csv, to_markdown
from cfbench.leaderboard.latex import tex, to_latex
from cfbench.leaderboard.ranks import Ranks
from cfbench.leaderboard.runs import read_runs
from cfbench.leaderboard.table import tables


def test_csv_round_trips_numbers_and_disarms_formulas():
    lines = list(csv.DictReader(io.StringIO(to_csv([record(value=-0.25, attribution="=1+1", reason="@x")]))))
    assert len(lines) == 1
    assert float(lines[0]["value"]) == -0.25
    assert lines[0]["attribution"] == "'=1+1"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_neither_starts_a_formula_nor_breaks_a_table(text):
    records = [record(attribution=text, metric=text, status="failed", reason=text)]
    for line in csv.reader(io.StringIO(to_csv(records))):
        assert not any(field.startswith(("=", "+", "@", "\t")) for field in line)
    rows = [line for line in to_markdown(tables(records)).splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3}
    assert "<" not in "".join(rows)
    assert not re.search(r"(?<!\\)\]\(", "".join(rows))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_no_latex(text):
    escaped = tex(text)
    commands = set(re.findall(r"\\([a-zA-Z]+)", escaped))
    known = {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"}
    assert commands <= known | {"textquotedbl", "dots", "textperiodcentered", "ensuremath"}
    assert not re.search(r"(?<!\\)[$&#%_]", escaped)
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", escaped):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0


def test_latex_has_booktabs_intervals_tiers_and_reasons():
    records = [
        record("flip", "counterfactual", 0.9),
        record("flip", "counterfactual", 0.2, attribution="b_1"),
        record("flip", "counterfactual", attribution="c", status="failed", reason="killed & lost"),
        record(
            "flip", "counterfactual", 0.83, attribution="paper", published="Somebody 2024", n=0, low=None, high=None
        ),
    ]
    ranks = Ranks({("vertebra", "fracture", "counterfactual", "flip", "dae / reflect"): 1})
    text = to_latex(tables(records, ranks))
    for part in (
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"flip $\uparrow$",
        r"\textbf{0.900}",
        r"{[}0.800, 1.000{]}",
    ):
        assert part in text
    assert r"b\_1" in text
    assert r"\emph{failed}\textsuperscript{" in text
    assert r"killed \& lost" in text
    assert r"\textit{0.830}" in text
    assert text.count(r" \\") == 5


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles_whatever_the_names_are(tmp_path):
    body = to_latex(
        tables([record(attribution=text, reason=text, metric=text) for text in HOSTILE[:12] if text.isascii()])
    )
    document = f"\\documentclass{{article}}\\usepackage[T1]{{fontenc}}\\usepackage{{booktabs}}\\begin{{document}}{body}"
    (tmp_path / "a.tex").write_text(document + "\\end{document}")
    subprocess.run(["pdflatex", "-halt-on-error", "a.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_json_has_every_cell_with_value_interval_tier_and_reason(tmp_path):
    records = [record(value=0.25), record("f1", status="skipped", reason="no weights")]
    ranks = [{"dataset": "vertebra", "task": "fracture", "view": "probe", "metric": "auc"}]
    ranks[0] |= {"tiers": {"dae / reflect": 2}, "reasons": {}, "pairs": []}
    folder = write_run(tmp_path / "run", records, {"suite": "vcf", "suite_hash": "abc"})
    (folder / "ranks.json").write_text(json.dumps(ranks))
    found = json.loads(export("json", list(read_runs([folder]))))
    (suite,) = found["suites"]
    assert suite["suite_hash"] == "abc"
    (table,) = suite["tables"]
    assert [column["metric"] for column in table["columns"]] == ["auc", "f1"]
    auc, f1 = table["rows"][0]["cells"]
    assert (auc["value"], auc["low"], auc["high"], auc["tier"], auc["n"]) == (0.25, 0.15, 0.35, 2, 20)
    assert (f1["value"], f1["status"], f1["reason"]) == (None, "skipped", "no weights")


def test_every_format_names_every_row_of_every_run(tmp_path):
    folders = [write_run(tmp_path / name, [record(attribution=f"method{name}")], {"suite": name}) for name in "ab"]
    runs = list(read_runs(folders))
    for form in FORMATS:
        text = export(form, runs)
        assert "methoda" in text
        assert "methodb" in text
