"""Tables and splits: what people write into them, and what must not be taken silently."""

import gzip
import math
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook

from cfbench.errors import DataError
from cfbench_files import table
from cfbench_files.fingerprint import fingerprint, listed
from cfbench_files.listing import LeftOut, below, why_missing
from cfbench_files.splits import hashed_split, named_split, whole_patients
from cfbench_files.table import check_unique, header_of, read_table, single_rows

TEXT = 'id,grade,note\n007,2,plain\n08, 3 ,"a, b"\n\n9,,x\n'


def write(path, text=TEXT, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_ids_stay_as_they_are_written(tmp_path):
    rows = read_table(write(tmp_path / "cases.csv"), ["id", "grade", "note"])
    assert [row["id"] for row in rows] == ["007", "08", "9"]
    assert rows[1]["note"] == "a, b"
    assert rows[1].number("grade") == 3
    assert math.isnan(rows[2].number("grade"))
    assert rows[2].where == "cases.csv, row 5"


@pytest.mark.parametrize("kind", ["bom", "tsv", "gz", "remarks", "xlsx"])
def test_every_kind_of_table_gives_the_same_rows(tmp_path, kind):
    if kind == "xlsx":
        path, book = tmp_path / "cases.xlsx", Workbook()
        for row in [["id", "grade", "note"], ["007", 2, "plain"], ["08", 3.0, "a, b"], [None] * 3, ["9", None, "x"]]:
            book.active.append(row)
        book.save(path)
    elif kind == "gz":
        path = tmp_path / "cases.csv.gz"
        path.write_bytes(gzip.compress(TEXT.encode()))
    else:
        name = "cases.tsv" if kind == "tsv" else "cases.csv"
        text = TEXT.replace('"a, b"', "a; b").replace(",", "\t").replace(";", ",") if kind == "tsv" else TEXT
        text = f"## licence: free, as in air\n## mean of 3\n{text}" if kind == "remarks" else text
        path = write(tmp_path / name, text, "utf-8-sig" if kind == "bom" else "utf-8")
    rows = read_table(path, ["id", "grade"], ["note", "absent"])
    assert [dict(row.cells) for row in rows] == [
        {"id": "007", "grade": "2", "note": "plain", "absent": ""},
        {"id": "08", "grade": "3", "note": "a, b", "absent": ""},
        {"id": "9", "grade": "", "note": "x", "absent": ""},
    ]
    assert header_of(path) == ("id", "grade", "note")


def test_an_absent_column_is_named_with_those_that_are_there(tmp_path):
    with pytest.raises(DataError, match=r"no column 'grad'; it has: id, grade, note"):
        read_table(write(tmp_path / "cases.csv"), ["id", "grad"])


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    with pytest.raises(DataError, match="'id' 2 times"):
        read_table(write(tmp_path / "cases.csv", "id,id\n1,2\n"), ["id"])


def test_a_row_with_too_many_cells_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cases.csv, row 3: 3 cells under 2 columns"):
        read_table(write(tmp_path / "cases.csv", "id,note\n1,a\n2,b,c\n"), ["id"])


@pytest.mark.parametrize("cell", ["5", "high", "inf", "1e999"])
def test_a_label_out_of_range_names_file_row_and_what_was_expected(tmp_path, cell):
    row = read_table(write(tmp_path / "g.csv", f"grade\n{cell}\n"), ["grade"])[0]
    with pytest.raises(DataError, match=rf"g.csv, row 2: column 'grade' holds '{cell}'; expected one of 0, 1"):
        row.number("grade", (0, 1))


@pytest.mark.parametrize("cell", ["NA", "nan", "None", " "])
def test_what_people_write_for_nothing_is_missing(tmp_path, cell):
    row = read_table(write(tmp_path / "g.csv", f"grade,id\n{cell},1\n"), ["grade"])[0]
    assert math.isnan(row.number("grade", (0, 1)))


@pytest.mark.parametrize("content", [b"id\n\xff\xfe\n", b'id\n"open', b"PK\x03\x04"])
def test_what_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "cases.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"cases\.csv"):
        read_table(tmp_path / "cases.csv", ["id"])
    (tmp_path / "cases.xlsx").write_bytes(content)
    with pytest.raises(DataError, match=r"cases\.xlsx"):
        read_table(tmp_path / "cases.xlsx", ["id"])


def test_a_packed_table_that_is_cut_or_that_swells_is_refused(tmp_path, monkeypatch):
    packed = gzip.compress(b"id\n" + b"1\n" * 200_000)
    (tmp_path / "cases.csv.gz").write_bytes(packed[:-20])
    with pytest.raises(DataError, match=r"cases\.csv\.gz"):
        read_table(tmp_path / "cases.csv.gz", ["id"])
    (tmp_path / "cases.csv.gz").write_bytes(packed)
    monkeypatch.setattr(table, "LARGEST", 100_000)
    with pytest.raises(DataError, match="unpacks to more than 100,000 bytes"):
        read_table(tmp_path / "cases.csv.gz", ["id"])


def test_equal_rows_count_once_and_contradicting_ones_not_at_all(tmp_path):
    rows = read_table(write(tmp_path / "g.csv", "id,grade\na,1\nb,1\na,1\nb,2\nc,0\n"), ["id", "grade"])
    kept, left = single_rows(rows, "id")
    assert [row["id"] for row in kept] == ["a", "c"]
    assert left == [("b", "g.csv, row 5: id 'b' is also in g.csv, row 3, with other values")]
    with pytest.raises(DataError, match=r"row 4: image 'a' is also in g\.csv, row 2"):
        check_unique([(row["id"], row.where) for row in rows], "image")


@given(st.text(min_size=1), st.integers(0, 5))
@settings(max_examples=50)
def test_a_patient_is_always_in_the_same_split(patient, seed):
    assert hashed_split(patient, 0.1, 0.2, seed) == hashed_split(patient, 0.1, 0.2, seed)
    assert hashed_split(patient, 0, 0, seed) == "train"
    if hashed_split(patient, 0.1, 0.2, seed) == "test":  # a larger share keeps those that were tested on
        assert hashed_split(patient, 0.3, 0.5, seed) == "test"


def test_shares_of_patients_are_as_asked():
    drawn = [hashed_split(f"{i:05d}", 0.1, 0.2) for i in range(20_000)]
    assert drawn.count("test") / 20_000 == pytest.approx(0.2, abs=0.01)
    assert drawn.count("valid") / 20_000 == pytest.approx(0.1, abs=0.008)
    with pytest.raises(DataError, match=r"valid=0.5 and test=0.5"):
        hashed_split("a", 0.5, 0.5)


@dataclass(frozen=True)
class Placed:
    name: str
    patient: str
    split: str
    where: str


def test_a_patient_in_two_splits_is_left_out_whole_with_both_rows():
    cases = [
        Placed("a", "007", "train", "t.csv, row 2"),
        Placed("b", "7", "test", "t.csv, row 3"),
        Placed("c", "007", "test", "t.csv, row 9"),
        Placed("d", "007", "train", "t.csv, row 10"),
    ]
    kept, left = whole_patients(cases, [LeftOut("x", "before")])
    assert [case.name for case in kept] == ["b"]
    assert [item.name for item in left] == ["x", "a", "c", "d"]
    why = "t.csv, row 9: patient '007' is in split test, but in train by t.csv, row 2"
    assert all(item.why.startswith(why) for item in left[1:])


def test_names_of_splits_are_understood_and_strange_ones_refused():
    assert [named_split(s, "") for s in ("Training", "val", "validate", "TEST")] == ["train", "valid", "valid", "test"]
    with pytest.raises(DataError, match="row 4: there is no split 'held-out'"):
        named_split("held-out", "row 4")


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/passwd", "", "a\\..\\..\\x.png"])
def test_a_table_names_no_file_outside_its_folder(tmp_path, name):
    with pytest.raises(DataError, match="row 2"):
        below(tmp_path, name, "t.csv, row 2")


def test_a_missing_folder_says_what_to_set(tmp_path):
    assert "`root` is empty" in why_missing("", ["a.csv"], "Get it.")
    assert "has no a.csv" in why_missing(str(tmp_path), ["a.csv"], "")
    assert "is no folder" in why_missing(str(tmp_path / "none"), [], "")
    (tmp_path / "a.csv").touch()
    assert not why_missing(str(tmp_path), ["a.csv"], "")


def test_a_fingerprint_follows_content_and_not_place(tmp_path):
    from cfbench_folder.params import FolderParams

    prints = []
    for place in ("here", "there"):
        folder = tmp_path / place / "class"
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(b"12")
        write(tmp_path / place / "t.csv")
        root = tmp_path / place
        prints.append(fingerprint("x", 1, FolderParams(root=str(root)), [root / "t.csv"], listed(root, ["class"])))
    assert prints[0] == prints[1]
    root = tmp_path / "there"
    (root / "class" / "a.png").write_bytes(b"123")
    assert fingerprint("x", 1, FolderParams(root=str(root)), [root / "t.csv"], listed(root, ["class"])) != prints[0]
    assert fingerprint("x", 1, FolderParams(root=str(root), size=7), [root / "t.csv"]) != fingerprint(
        "x", 1, FolderParams(root=str(root)), [root / "t.csv"]
    )
