import errno
import json
import multiprocessing
import os
import signal
import time

import pytest

from cfbench.errors import CorruptArtifactError, StoreError
from cfbench.store import Store, content_key, write_atomically


def fill(store, key, text="hello"):
    with store.writing(key, {"by": "test"}) as folder:
        (folder / "a.txt").write_text(text)
        (folder / "deep").mkdir()
        (folder / "deep" / "b.bin").write_bytes(b"\0" * 1000)


def test_a_key_depends_on_all_that_goes_in_and_on_no_order():
    assert content_key("fit", {"a": 1, "b": 2.0}) == content_key("fit", {"b": 2.0, "a": 1})
    assert len({content_key("fit", {"a": 1}), content_key("fit", {"a": 2}), content_key("fat", {"a": 1})}) == 3


def test_what_is_written_is_read(tmp_path):
    store, key = Store(tmp_path), content_key("fit", {"a": 1})
    assert not store.has(key)
    fill(store, key)
    assert store.has(key)
    artifact = store.read(key)
    assert (artifact.folder / "a.txt").read_text() == "hello"
    assert artifact.meta["by"] == "test"


def test_a_block_that_raises_leaves_nothing(tmp_path):
    store, key = Store(tmp_path), content_key("fit", {"a": 1})
    with pytest.raises(ValueError, match="oops"), store.writing(key, {}) as folder:
        (folder / "a.txt").write_text("half")
        raise ValueError("oops")
    assert not store.has(key)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_every_flipped_bit_is_found(tmp_path):
    """Each byte of every file of an artifact, manifest included, damaged in turn."""
    key = content_key("fit", {"a": 1})
    fill(Store(tmp_path), key)
    folder = Store(tmp_path).folder(key)
    originals = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for path, data in originals.items():
        for at in range(0, len(data), max(1, len(data) // 25)):
            damaged = bytes([*data[:at], data[at] ^ 4, *data[at + 1 :]])
            if path.name == "artifact.json" and _same_json(damaged, data):
                continue
            path.write_bytes(damaged)
            store = Store(tmp_path)
            with pytest.raises(CorruptArtifactError):
                store.read(key)
            assert not store.has(key), "a damaged artifact is moved aside"
            fill(store, key)


def _same_json(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_a_missing_file_and_a_truncated_one_are_found(tmp_path):
    key = content_key("fit", {"a": 1})
    for damage in (lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:500]), lambda p: p.write_bytes(b"")):
        fill(Store(tmp_path), key)
        damage(Store(tmp_path).folder(key) / "deep" / "b.bin")
        with pytest.raises(CorruptArtifactError):
            Store(tmp_path).read(key)


def test_a_folder_that_lost_its_manifest_does_not_stand_in_the_way(tmp_path):
    store, key = Store(tmp_path), content_key("fit", {"a": 1})
    fill(store, key)
    (store.folder(key) / "artifact.json").unlink()
    assert not store.has(key)
    fill(store, key, "again")
    assert (Store(tmp_path).read(key).folder / "a.txt").read_text() == "again"


def test_a_full_disk_is_told_and_loses_nothing(tmp_path, monkeypatch):
    store, key = Store(tmp_path), content_key("fit", {"a": 1})
    with pytest.raises(StoreError, match="No space left") as caught, store.writing(key, {}):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "GB free" in str(caught.value)
    assert not store.has(key)


def test_another_os_error_is_not_called_a_full_disk(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(FileNotFoundError), store.writing(content_key("fit", {}), {}):
        open(tmp_path / "nowhere")  # noqa: SIM115, PTH123 - it is not there


def test_two_writers_of_the_same_agree(tmp_path):
    store, key = Store(tmp_path), content_key("fit", {"a": 1})
    with store.writing(key, {}) as one, store.writing(key, {}) as two:
        (one / "a.txt").write_text("same")
        (two / "a.txt").write_text("same")
    assert (store.read(key).folder / "a.txt").read_text() == "same"


def hold(root, key, ready):
    with Store(root).lock(key):
        ready.set()
        time.sleep(60)


def test_a_lock_dies_with_its_holder_and_its_drafts_are_swept(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, key = context.Event(), content_key("fit", {"a": 1})
    store = Store(tmp_path)
    draft = store.folder(key).with_name(f".{store.folder(key).name}.dead")
    draft.mkdir(parents=True)
    holder = context.Process(target=hold, args=(tmp_path, key, ready))
    holder.start()
    assert ready.wait(60)
    draft.mkdir(exist_ok=True)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with store.lock(key):
        assert not draft.exists()


def test_replacing_a_text_file_keeps_the_old_one_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_atomically(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
