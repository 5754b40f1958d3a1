"""Reading torch's files without unpickling: the same values as torch, and files that try more than to be read."""

import io
import pickle
import pickletools
import sys
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cfbench.errors import CfbenchError, DataError
from cfbench_nets import archive
from cfbench_nets.archive import open_archive
from cfbench_nets.pickled import Name, Storage, StoredTensor, Unknown, read_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner)
    ),
    max_leaves=20,
)


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that notes that it was imported; nothing may import it, let alone call it."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "trap.py").write_text("from pathlib import Path\nPath(__file__).with_name('sprung').touch()\n")
    monkeypatch.syspath_prepend(folder)
    yield b"trap"
    assert "trap" not in sys.modules
    assert [file.name for file in folder.iterdir()] == ["trap.py"]


@settings(max_examples=60, deadline=None)
@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_read_as_pickle_reads_them(value, protocol):
    assert read_pickle(pickle.dumps(value, protocol)) == value
    twice = read_pickle(pickle.dumps([value, [value]], protocol))
    assert twice == [value, [value]]


def test_bytes_are_read_where_pickle_has_them_and_ordered_dictionaries_keep_their_order():
    assert read_pickle(pickle.dumps([b"a", bytearray(b"b")], 5)) == [b"a", bytearray(b"b")]
    ordered = OrderedDict([("z", 1), ("a", (2, 3))])
    ordered.history = "gone"
    for protocol in range(2, 6):
        assert list(read_pickle(pickle.dumps(ordered, protocol)).items()) == [("z", 1), ("a", (2, 3))]


@pytest.mark.parametrize(
    "program",
    [
        b"ctrap\nspring\n(tR.",
        b"ctrap\nspring\n)R.",
        b"cbuiltins\neval\n(S'__import__(\"trap\")'\ntR.",
        b"cbuiltins\n__import__\n(S'trap'\ntR.",
        b"cbuiltins\ngetattr\n(ctrap\nspring\nS'__call__'\ntR(tR.",
        b"(S'echo'\nitrap\nspring\n.",
        b"(ctrap\nSpring\nS'echo'\no.",
        b"\x80\x02ctrap\nSpring\n)\x81.",
        b"\x80\x04ctrap\nSpring\n)}\x92.",
        b"\x80\x04\x8c\x04trap\x8c\x06spring\x93)R.",
        # States for what is not there: of an unknown object, of a class, of a function.
        b"ctrap\nSpring\n)R}S'x'\nI1\nsb.",
        b"ctrap\nSpring\n}S'__reduce__'\nctrap\nspring\nsb.",
        b"ccollections\nOrderedDict\n(N}S'items'\nctrap\nspring\nstb.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}S'__code__'\nI1\nstb.",
        # As a key, as an item, as what is called.
        b"}ctrap\nspring\n(tRI1\ns.",
        b"](ctrap\nspring\n(tRctrap\nspring\ne.",
        b"S'trap.spring'\n(tR.",
        b"\x8f(ctrap\nspring\n(tR\x90.",
    ],
)
def test_programs_are_not_run(trap, program):
    pickletools.dis(program, out=io.StringIO())
    found = read_pickle(program)
    assert found in ({}, Name("collections.OrderedDict")) or isinstance(found, Unknown | Name | list)
    assert Unknown() != Unknown()


@pytest.mark.parametrize("program", [b"\x82\x01.", b"\x97.", b"\x80\x05N\x98."])
def test_instructions_that_need_a_registry_or_other_memory_are_refused(program):
    with pytest.raises(DataError, match="has no place there"):
        read_pickle(program)


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"N",
        b".",
        b"\xff.",
        b"R.",
        b"NR.",
        b"t.",
        b"(((",
        b"g1\n.",
        b"h\x05.",
        b"}(I1\nu.",
        b"I" + b"9" * 5000 + b"\n.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x8d" + b"\xff" * 8 + b"abc.",
        b"(Na.",
        b"NN" + b"(R.",
        b"\x80\x02(I1\nr\xff\xff\xff\xff",
    ],
)
def test_what_is_no_pickle_is_an_error_that_says_where(program):
    with pytest.raises(DataError, match=r"at byte \d+ of"):
        read_pickle(program)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_bytes_give_a_value_or_a_data_error(data):
    whole = bytearray(
        pickle.dumps([{"a": (1, 2.0, b"x")}, Name("y"), [{1}, "z" * 300, True]], data.draw(st.integers(0, 5)))
    )
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DataError):
        read_pickle(bytes(whole[: data.draw(st.integers(0, len(whole)))]))


def reference(**changes):
    """A tensor as torch.save writes it, with whatever in it one likes."""
    parts = {"kind": b"ctorch\nFloatStorage\n", "file": b"S'0'\n", "length": b"I6\n", "offset": b"I0\n"}
    parts |= {"shape": b"(I2\nI3\nt", "stride": b"(I3\nI1\nt"} | changes
    storage = b"(S'storage'\n" + parts["kind"] + parts["file"] + b"S'cpu'\n" + parts["length"] + b"tQ"
    window = parts["offset"] + parts["shape"] + parts["stride"]
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + window + b"I00\nNtR"


def archived(path, tensor, numbers=None, **other):
    """An archive whose state_dict has one tensor, `w`."""
    numbers = torch.arange(6.0).numpy().tobytes() if numbers is None else numbers
    files = {"data.pkl": b"}S'state_dict'\n}S'w'\n" + tensor + b"ss.", "data/0": numbers, "byteorder": b"little"}
    with zipfile.ZipFile(path, "w", other.pop("method", zipfile.ZIP_STORED)) as file:
        for name, content in (files | {name.replace("__", "/"): value for name, value in other.items()}).items():
            if content is not None:
                file.writestr(f"archive/{name}", content)
    return path


def read(path):
    with open_archive(path) as file:
        return file.read("w", file.tensors("state_dict")["w"])


def test_a_hand_written_archive_is_what_torch_reads(tmp_path):
    path = archived(tmp_path / "a.ckpt", reference())
    assert torch.equal(read(path), torch.arange(6.0).reshape(2, 3))
    turned = archived(tmp_path / "b.ckpt", reference(shape=b"(I3\nI2\nt", stride=b"(I1\nI3\nt"))
    assert torch.equal(read(turned), torch.arange(6.0).reshape(2, 3).T)
    with open_archive(path) as file:
        assert file.tensors("state_dict")["w"] == StoredTensor(Storage("0", "torch.FloatStorage", 6), 0, (2, 3), (3, 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": b"(I2\nI4\nt"}, "tensor w reaches beyond"),
        ({"shape": b"(I2\nI3\nI1\nt"}, "tensor w reaches beyond"),
        ({"offset": b"I1\n"}, "tensor w reaches beyond"),
        ({"stride": b"(I4\nI1\nt"}, "tensor w reaches beyond"),
        ({"shape": b"(L9223372036854775808L\nI3\nt"}, "tensor w reaches beyond"),
        ({"shape": b"(I2\nI2\nt"}, "tensor w is a window"),
        ({"shape": b"(I0\nI3\nt"}, "tensor w is a window"),
        (
            {"length": b"L1099511627776L\n", "shape": b"(L1099511627776L\nt", "stride": b"(I1\nt"},
            "should have 4398046511104",
        ),
        ({"length": b"I5\n", "shape": b"(I5\nt", "stride": b"(I1\nt"}, "'data/0' .* at most 20 bytes"),
        ({"length": b"I-6\n"}, "whole number"),
        ({"offset": b"I-1\n"}, "whole number"),
        ({"stride": b"(I-3\nI1\nt"}, "whole number"),
        ({"shape": b"(F2.0\nI3\nt"}, "whole number"),
        ({"shape": b"(I01\nI6\nt"}, "whole number"),
        ({"shape": b"(" + b"I1\n" * 9 + b"t"}, "at most 8"),
        ({"shape": b"N"}, "at most 8"),
        ({"kind": b"ctorch\nLongStorage\n"}, "tensor w is a torch.LongStorage"),
        ({"kind": b"cbuiltins\neval\n"}, "tensor w is a builtins.eval"),
        ({"file": b"S'1'\n"}, "has no 'data/1'"),
        ({"file": b"S'../../../etc/passwd'\n"}, "has no 'data/../../../etc/passwd'"),
        ({"file": b"S'/etc/passwd'\n"}, "has no 'data//etc/passwd'"),
    ],
)
def test_a_tensor_that_lies_about_itself_is_refused(tmp_path, change, words):
    with pytest.raises(DataError, match=words):
        read(archived(tmp_path / "a.ckpt", reference(**change)))


@pytest.mark.parametrize("change", [{"kind": b"N"}, {"file": b"I0\n"}])
def test_what_is_no_reference_to_numbers_is_no_tensor(tmp_path, change):
    with open_archive(archived(tmp_path / "a.ckpt", reference(**change))) as file:
        assert file.tensors("state_dict") == {}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"byteorder": b"big"}, "little-endian"),
        ({"data__0": None}, "has no 'data/0'"),
        ({"data__0": b"short"}, "should have 24 bytes, but 5"),
        ({"data.pkl": None}, "one data.pkl in it, .* not 0"),
        ({"second__data.pkl": b"N."}, "not 2"),
        ({"data.pkl": b"N."}, "state_dict"),
        ({"data.pkl": b"}S'state_dict'\nctrap\nspring\n(tRs."}, "state_dict"),
        ({"data.pkl": b"}S'state_dict'\n}S'w'\n"}, "not a pickle"),
        ({"method": zipfile.ZIP_DEFLATED}, "uncompressed"),
    ],
)
def test_an_archive_that_torch_would_not_write_is_refused(tmp_path, files, words):
    with pytest.raises(DataError, match=words):
        read(archived(tmp_path / "a.ckpt", reference(), **files))


def test_two_files_of_one_name_are_refused(tmp_path):
    path = archived(tmp_path / "a.ckpt", reference())
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("archive/data.pkl", b"N.")
    with pytest.raises(DataError, match="the same name"):
        read(path)


def test_a_large_pickle_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST_PICKLE", 100)
    with pytest.raises(DataError, match=r"'data.pkl' .* at most 100 bytes"):
        read(archived(tmp_path / "a.ckpt", reference()))


def test_cut_and_damaged_files_and_others_are_named(tmp_path):
    whole = archived(tmp_path / "a.ckpt", reference()).read_bytes()
    path = tmp_path / "b.ckpt"
    for end in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(DataError, match=r"b\.ckpt"):
            read(path)
    start = whole.index(torch.arange(6.0).numpy().tobytes())
    path.write_bytes(whole[: start + 4] + b"\x01" + whole[start + 5 :])
    with pytest.raises(DataError, match="'data/0' is damaged"):
        read(path)
    path.write_text("<html>quota exceeded</html>")
    with pytest.raises(DataError, match=r"expected a checkpoint that torch\.save wrote"):
        read(path)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "c.ckpt")


def test_the_format_before_torch_1_6_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "old.ckpt"
    torch.save({"state_dict": {"w": torch.ones(2)}}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match=r"before 1\.6.*torch\.save"):
        read(path)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_damaged_archive_gives_the_tensor_or_a_data_error(tmp_path_factory, data):
    path = archived(tmp_path_factory.getbasetemp() / "damaged.ckpt", reference())
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.sampled_from([0, 1, 127, 255]))
    path.write_bytes(whole)
    with suppress(DataError), open_archive(path) as file:
        for name, stored in file.tensors("state_dict").items():
            assert file.read(name, stored).numel() <= 6


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        import os

        return os.system, (self.command,)


def test_a_checkpoint_that_would_run_a_command_is_read_and_runs_none(tmp_path):
    path, sprung = tmp_path / "a.ckpt", tmp_path / "sprung"
    evil = Evil(f"touch {sprung}")
    torch.save({"state_dict": OrderedDict(w=torch.ones(2, 2), evil=evil), "hyper_parameters": evil, "x": [evil]}, path)
    assert torch.equal(read(path), torch.ones(2, 2))
    with open_archive(path) as file:
        assert list(file.tensors("state_dict")) == ["w"]
        assert isinstance(file.content["hyper_parameters"], Unknown)
    assert not sprung.exists()
    # The trap is sound: unpickling springs it.
    torch.load(path, weights_only=False)
    assert sprung.exists()


KINDS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.integers(1, 4), max_size=4), st.integers(0, 2**31), st.randoms())
def test_tensors_are_read_as_torch_reads_them(kind, shape, seed, random):
    value = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(kind)
    order = list(range(len(shape)))
    random.shuffle(order)
    value = value.permute(order) if shape else value
    file = io.BytesIO()
    torch.save({"state_dict": {"w": value, "n": torch.tensor(3)}, "epoch": 1}, file)
    file.seek(0)
    with zipfile.ZipFile(file) as opened:
        found = archive.Archive(Path("here"), opened)
        assert torch.equal(found.read("w", found.tensors("state_dict")["w"]), value.float())
        with pytest.raises(CfbenchError):
            found.read("n", found.tensors("state_dict")["n"])
