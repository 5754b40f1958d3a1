"""Prepared cases: the same whatever the number of workers and however often it was killed, and read back as written."""

import json
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from cfbench.errors import DataError, NotFiniteError
from cfbench.protocols import Cases, Context
from cfbench_files.cases import Prepared
from cfbench_files.dataset import FileDataset
from cfbench_files.listing import LeftOut, Listing
from cfbench_files.prepared import JOURNAL, Case, Layout, prepare

LAYOUT = Layout(shape=(1, 4, 6), dtype="uint16", masks=("lesion",), labels=("grade", "score"))
SPLITS = ("train", "train", "test", "valid")


def case(i, **changes):
    return Case(
        **{
            "id": f"{i:03d}",
            "patient": f"p{i // 4}",
            "split": SPLITS[i % 4],
            "labels": {"grade": float(i % 3) if i % 5 else float("nan"), "score": i / 7},
            "image": np.full((1, 4, 6), 257 * i, np.uint16),
            "masks": {"lesion": np.arange(24).reshape(4, 6) == i % 24} if i % 2 else {},
            "text": f"case {i}" if i == 2 else "",
            "where": f"t.csv, row {i + 2}",
            "digests": {f"{i}.png": f"{i:x}"},
            **changes,
        }
    )


def read(i):
    yield case(i)


@pytest.fixture
def made(tmp_path):
    """Prepare sources in a folder of its own each time; returns the folder."""
    count = [0]

    def run(sources=range(40), how=read, scratch=None, **options):
        count[0] += 1
        folder = tmp_path / f"out{count[0]}"
        folder.mkdir()
        scratch = scratch or tmp_path / f"scratch{count[0]}"
        scratch.mkdir(exist_ok=True)
        prepare(list(sources), how, LAYOUT, folder, Context(0, scratch), **options)
        return folder

    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_cases_come_back_as_they_were_written(made):
    prepared = Prepared(made())
    cases = prepared.cases("train")
    assert isinstance(cases, Cases)
    numbers = [i for i in range(40) if SPLITS[i % 4] == "train"]
    assert cases.ids == tuple(f"{i:03d}" for i in numbers)
    assert cases.patients[:3] == ("p0", "p0", "p1")
    rng = np.random.default_rng(0)
    for _ in range(5):
        chosen = rng.permutation(len(cases))[:6].tolist()
        batch = cases.batch(chosen)
        for row, position in enumerate(chosen):
            i = numbers[position]
            expected = next(iter(read(i)))
            assert (batch.x[row].numpy() == np.float32(257 * i) / np.float32(65535)).all()
            assert batch.labels["score"][row] == np.float32(i / 7)
            assert torch.isnan(batch.labels["grade"][row]) == (i % 5 == 0)
            drawn = expected.masks.get("lesion", np.zeros((4, 6), bool))
            assert (batch.masks["lesion"][row, 0].numpy() == drawn).all()
    assert prepared.cases("test").batch([0]).text == ("case 2",)


@pytest.mark.parametrize("workers", [2, 5])
def test_the_number_of_workers_changes_nothing(made, workers):
    def slow(i):
        time.sleep(0.002 * (i % 3))
        yield case(i)

    assert contents(made(how=slow, workers=workers)) == contents(made(workers=1))


def test_no_more_sources_are_read_than_workers_and_their_queue_hold(tmp_path):
    begun, ahead, lock = [0], [0], threading.Lock()

    def counting(i):
        with lock:
            begun[0] += 1
        yield case(i)

    def progress(done, total, what):
        ahead[0] = max(ahead[0], begun[0] - done)
        time.sleep(0.001)  # a disk that is slower than the readers

    for name in ("out", "scratch"):
        (tmp_path / name).mkdir()
    context = Context(0, tmp_path / "scratch", progress=progress)
    prepare(list(range(100)), counting, LAYOUT, tmp_path / "out", context, workers=2)
    assert begun[0] == 100
    assert 1 <= ahead[0] <= 4


def test_a_killed_preparation_goes_on_where_it_was(made, tmp_path):
    scratch, seen = tmp_path / "kept", []

    def dies(i):
        if i == 25:
            raise KeyboardInterrupt
        yield case(i)

    def watched(i):
        seen.append(i)
        yield case(i)

    with pytest.raises(KeyboardInterrupt):
        made(how=dies, scratch=scratch, workers=1)
    resumed = made(how=watched, scratch=scratch, workers=1)
    assert 15 < min(seen) <= 25
    assert contents(resumed) == contents(made())


SLOWLY = """\
import sys, time
from pathlib import Path
import numpy as np
from cfbench.protocols import Context
from cfbench_files.prepared import Case, Layout, prepare

def read(i):
    time.sleep(0.05)
    yield Case(id=f"{i:03d}", patient=str(i), split="train", labels={}, image=np.full((1, 4, 6), i, np.uint8))

scratch, out = Path(sys.argv[1]), Path(sys.argv[2])
layout = Layout(shape=(1, 4, 6), dtype="uint8")
prepare(list(range(200)), read, layout, out, Context(0, scratch), workers=2)
"""


def test_a_process_that_is_killed_outright_loses_only_what_was_under_way(tmp_path):
    scratch, seen = tmp_path / "scratch", []
    for name in ("scratch", "dead", "out", "whole", "other"):
        (tmp_path / name).mkdir()
    dying = subprocess.Popen([sys.executable, "-c", SLOWLY, str(scratch), str(tmp_path / "dead")])
    journal = scratch / "journal.jsonl"
    give_up = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 10) and time.monotonic() < give_up:
        time.sleep(0.02)
    dying.kill()
    dying.wait()
    kept = journal.read_bytes().count(b"\n")
    assert 10 <= kept < 200

    def watched(i):
        seen.append(i)
        yield Case(id=f"{i:03d}", patient=str(i), split="train", labels={}, image=np.full((1, 4, 6), i, np.uint8))

    layout = Layout(shape=(1, 4, 6), dtype="uint8")
    steps = []
    context = Context(0, scratch, progress=lambda done, total, what: steps.append((done, total)))
    prepare(list(range(200)), watched, layout, tmp_path / "out", context, workers=2)
    assert sorted(seen) == list(range(kept, 200))
    assert steps == [(done, 200) for done in range(kept + 1, 201)]
    prepare(list(range(200)), watched, layout, tmp_path / "whole", Context(0, tmp_path / "other"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["line", "pixels", "mask", "journal"])
def test_what_was_half_written_is_written_again(made, tmp_path, damage):
    scratch = tmp_path / "kept"

    def dies(i):
        if i == 30:
            raise KeyboardInterrupt
        yield case(i)

    with pytest.raises(KeyboardInterrupt):
        made(how=dies, scratch=scratch, workers=1)
    name = {"pixels": "images.raw", "mask": "mask-lesion.raw"}.get(damage, JOURNAL)
    whole = (scratch / name).read_bytes()
    (scratch / name).write_bytes(b"" if damage == "journal" else whole[:-7])
    assert contents(made(scratch=scratch)) == contents(made())


def test_a_bad_case_loses_no_other_and_is_reported(made):
    def some(i):
        if i == 3:
            raise DataError("t.csv, row 5: it is bad")
        if i == 4:
            raise NotFiniteError("t.csv, row 6: NaN")
        yield LeftOut("005", "t.csv, row 7: no disc") if i == 5 else case(i)

    prepared = Prepared(made(how=some, left=[LeftOut("x", "t.csv, row 99: twice")]))
    assert sum(len(prepared.cases(split)) for split in ("train", "valid", "test")) == 37
    assert [item.why for item in prepared.left_out] == [
        "t.csv, row 99: twice",
        "t.csv, row 5: it is bad",
        "t.csv, row 6: NaN",
        "t.csv, row 7: no disc",
    ]


def test_strict_stops_at_the_first_bad_case(made):
    def some(i):
        yield LeftOut("003", "t.csv, row 5: it is bad") if i == 3 else case(i)

    with pytest.raises(DataError, match="row 5: it is bad"):
        made(how=some, strict=True)
    with pytest.raises(DataError, match="row 99"):
        made(left=[LeftOut("x", "row 99: twice")], strict=True)


def test_nothing_left_is_an_error_with_the_first_reason(made):
    def none(i):
        raise DataError(f"row {i}: bad")

    with pytest.raises(DataError, match="none of 40 cases can be used; the first: row 0: bad"):
        made(how=none)


def test_an_id_that_is_there_twice_is_refused(made):
    def twice(i):
        yield case(i, id="same" if i > 37 else str(i))

    with pytest.raises(DataError, match=r"t.csv, row 41: case 'same' is there twice; the first is t.csv, row 40"):
        made(how=twice)


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.zeros((1, 4, 5), np.uint16)},
        {"image": np.zeros((1, 4, 6), np.uint8)},
        {"masks": {"other": np.zeros((4, 6), bool)}},
    ],
)
def test_a_case_that_is_not_as_declared_is_refused(made, change):
    with pytest.raises(DataError, match=r"t\.csv, row 2: case 000"):
        made(how=lambda i: [case(i, **change)])


def test_a_fault_of_the_code_is_not_taken_for_a_bad_case(made):
    def broken(i):
        raise RuntimeError("a slip")

    with pytest.raises(RuntimeError, match="a slip"):
        made(how=broken)


@pytest.mark.parametrize(("dtype", "value"), [("uint8", 51), ("uint16", 13107), ("float16", 0.25), ("float32", 0.2)])
def test_every_type_of_pixel_is_read_on_its_scale(tmp_path, dtype, value):
    layout = Layout(shape=(1, 2, 3, 4), dtype=dtype)
    folder, scratch = tmp_path / "out", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    one = Case(id="a", patient="a", split="train", labels={}, image=np.full((1, 2, 3, 4), value, dtype))
    prepare([0], lambda _: [one], layout, folder, Context(0, scratch))
    x = Prepared(folder).cases("train").batch([0, 0]).x
    assert x.shape == (2, 1, 2, 3, 4)
    assert float(x.max()) == pytest.approx(0.25 if dtype == "float16" else 0.2, abs=1e-7)


def test_the_digest_of_the_content_follows_the_files_not_their_order(made):
    def other(i):
        yield case(i, digests={f"{i}.png": "changed" if i == 7 else f"{i:x}"})

    first = Prepared(made()).content
    assert Prepared(made(reversed(range(40)))).content == first
    assert Prepared(made(how=other)).content != first


def test_a_dataset_is_listed_prepared_loaded_and_reports(tmp_path):
    dataset = FileDataset(
        "toy",
        lambda: Listing(list(range(8)), [LeftOut("9", "row 11: gone")]),
        read,
        LAYOUT,
        notes=lambda prepared: [f"{len(prepared.index['id'])} as published"],
    )
    with pytest.raises(DataError, match="call `prepare`, then `load`"):
        dataset.cases("train")
    for name in ("out", "scratch"):
        (tmp_path / name).mkdir()
    dataset.prepare(tmp_path / "out", Context(0, tmp_path / "scratch"))
    dataset.load(tmp_path / "out")
    assert len(dataset.cases("train")) == 4
    with pytest.raises(DataError, match="toy: there is no case in the nowhere split"):
        dataset.cases("nowhere")
    report = "\n".join(dataset.report())
    for words in ("left out: 1", "9: row 11: gone", "8 as published", "sha256"):
        assert words in report
    assert json.loads((tmp_path / "out" / "prepared.json").read_text())["shape"] == [1, 4, 6]
