import hashlib
import http.server
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from cfbench import assets
from cfbench.errors import ChecksumError, DataError, OfflineError, PluginError, StoreError
from cfbench.specs import Asset

CONTENT = bytes(range(256)) * 8192  # 2 MiB: more than one chunk
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as `self.server.behaviour` says: a set of words."""

    def do_GET(self):
        self.server.asked.append(self.headers.get("Range"))
        behaviour = self.server.behaviour
        if "silent" in behaviour:
            self.server.proceed.wait(20)
        if "refuse" in behaviour:
            return self.send_error(503)
        if "redirect" in behaviour:
            return self.redirect("/real")
        if "redirect to file" in behaviour:
            return self.redirect("file:///etc/hostname")
        return self.give(self.server.content)

    def redirect(self, where):
        self.server.behaviour = self.server.behaviour - {"redirect"}
        self.send_response(302)
        self.send_header("Location", where)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def give(self, content):
        behaviour = self.server.behaviour
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted and "no ranges" not in behaviour else 0
        if start >= len(content):
            return self.send_error(416)
        if "wrong range" in behaviour and start:
            start -= 1
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if "no length" not in behaviour:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if "slow" in behaviour:
            self.server.started.set()
            self.server.proceed.wait(20)
        self.wfile.write(body[: len(body) // 2] if "cut" in behaviour else body)
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("CFBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads = True
    served.content, served.behaviour, served.asked = CONTENT, frozenset(), []
    served.started, served.proceed = threading.Event(), threading.Event()
    served.url = f"http://127.0.0.1:{served.server_address[1]}/file"
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.proceed.set()
    served.shutdown()
    served.server_close()
    thread.join()


def asset(url="http://127.0.0.1:1/none", **changes):
    return Asset(**({"name": "file.bin", "url": url, "checksum": f"sha256:{SHA256}", "size": len(CONTENT)} | changes))


def fetch(wanted, **kwargs):
    return assets.fetch(wanted, lambda done, total: None, **kwargs)


def part_of(path):
    return path.with_name(path.name + ".part")


# --- where ---------------------------------------------------------------------------------------------------------


def test_location_follows_place_and_root(monkeypatch, tmp_path):
    monkeypatch.setenv("CFBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert assets.locate(asset()) == tmp_path / "home" / "data" / "file.bin"
    assert assets.locate(asset(place="torch")) == tmp_path / "torch" / "hub" / "checkpoints" / "file.bin"
    assert assets.locate(asset(root=tmp_path, place="torch")) == tmp_path / "file.bin"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "/etc/passwd", "C:x", ".hidden", "a\n", "%2e%2e", "x.part", "x.lock", "é"],
)
def test_names_that_are_not_plain_file_names_are_refused(name, tmp_path):
    for use in (assets.locate, assets.state, fetch):
        with pytest.raises(PluginError, match="plain file name"):
            use(asset(name=name, root=tmp_path))


def test_state_looks_at_existence_and_size(tmp_path):
    wanted = asset(root=tmp_path)
    assert assets.state(wanted) == "missing"
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1])
    assert assets.state(wanted) == "missing"
    assert assets.state(asset(root=tmp_path, size=None)) == "present"
    (tmp_path / "file.bin").write_bytes(CONTENT)
    assert assets.state(wanted) == "present"
    assert assets.state(asset(root=tmp_path / "file.bin" / "below")) == "missing"


# --- verify --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "checksum", [f"sha256:{SHA256}", f"md5:{MD5}", f"sha256:{SHA256[:8]}", f"md5:{MD5[:9]}", f"md5:{MD5.upper()}"]
)
def test_right_file_passes(tmp_path, checksum):
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    assets.verify(path, checksum)


@pytest.mark.parametrize(("algorithm", "digest"), [("sha256", SHA256), ("md5", MD5)])
def test_one_flipped_bit_is_found_and_the_message_says_what_to_do(tmp_path, algorithm, digest):
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    for length in (8, len(digest)):
        with pytest.raises(ChecksumError) as caught:
            assets.verify(path, f"{algorithm}:{digest[:length]}")
        actual = hashlib.new(algorithm, path.read_bytes()).hexdigest()
        for word in (str(path), digest[:length], actual, "cfbench data fetch"):
            assert word in str(caught.value)


@pytest.mark.parametrize(
    "checksum", ["", SHA256, "sha1:" + "0" * 40, "md5:1234567", "md5:" + "0" * 33, "sha256:xyzxyzxyz"]
)
def test_checksums_that_cannot_be_checked_are_refused(tmp_path, checksum):
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    with pytest.raises(PluginError, match="8 or more hex digits"):
        assets.verify(path, checksum)
    with pytest.raises(PluginError, match="8 or more hex digits"):
        fetch(asset(checksum=checksum, root=tmp_path))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'none'} cannot be read")):
        assets.verify(tmp_path / "none", f"md5:{MD5}")


# --- fetch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["data", "torch"])
def test_download_arrives_whole_with_progress_and_leaves_no_part(server, place):
    seen = []
    path = assets.fetch(asset(server.url, place=place), lambda done, total: seen.append((done, total)))
    assert path == assets.locate(asset(place=place))
    assert path.read_bytes() == CONTENT
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert not part_of(path).exists()


def test_what_is_there_is_not_downloaded_again(server):
    path = fetch(asset(server.url))
    before = path.stat().st_mtime_ns
    assert fetch(asset(server.url)) == path
    assert path.stat().st_mtime_ns == before
    assert len(server.asked) == 1


def test_what_is_there_and_wrong_is_reported_and_not_overwritten(server):
    path = assets.locate(asset())
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(ChecksumError, match="move it away"):
        fetch(asset(server.url))
    assert path.read_bytes() == b"mine"
    assert server.asked == []


def test_a_present_file_in_a_folder_that_cannot_be_written_is_fine(server):
    path = fetch(asset(server.url))
    path.with_name("file.bin.lock").unlink()
    path.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert fetch(asset(server.url)) == path
    finally:
        path.parent.chmod(stat.S_IRWXU)
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("length", [set(), {"no length"}])
def test_a_cut_download_says_so_and_goes_on_where_it_stopped(server, length):
    server.behaviour = frozenset({"cut"} | length)
    wanted = asset(server.url)
    path = assets.locate(wanted)
    with pytest.raises(OfflineError, match="cut") as caught:
        fetch(wanted)
    half = part_of(path).stat().st_size
    assert 0 < half <= len(CONTENT) // 2
    assert f"{half:,} bytes that have arrived are kept" in str(caught.value)
    assert not path.exists()
    server.behaviour = frozenset(length)
    assert fetch(wanted).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={half}-"]


@pytest.mark.parametrize(
    ("behaviour", "part", "asked"),
    [
        ({"no ranges"}, CONTENT[:1000], ["bytes=1000-"]),
        ({"wrong range"}, CONTENT[:1000], ["bytes=1000-", None]),
        (set(), CONTENT + b"more", [f"bytes={len(CONTENT) + 4}-", None]),  # 416
        (set(), CONTENT, [f"bytes={len(CONTENT)}-", None]),  # 416: killed between the last byte and the rename
        ({"redirect"}, CONTENT[:1000], ["bytes=1000-", "bytes=1000-"]),
        (set(), b"", [None]),
    ],
)
def test_a_part_is_completed_or_replaced_whatever_the_server_makes_of_ranges(server, behaviour, part, asked):
    server.behaviour = frozenset(behaviour)
    path = assets.locate(asset())
    path.parent.mkdir(parents=True)
    part_of(path).write_bytes(part)
    assert fetch(asset(server.url)).read_bytes() == CONTENT
    assert server.asked == asked


def test_a_part_survives_a_server_error(server):
    server.behaviour = frozenset({"refuse"})
    path = assets.locate(asset())
    path.parent.mkdir(parents=True)
    part_of(path).write_bytes(CONTENT[:1000])
    with pytest.raises(OfflineError, match="the server answers 503 Service Unavailable"):
        fetch(asset(server.url))
    assert part_of(path).read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("content", [b"<html>log in</html>" * 200_000, CONTENT[:-1] + b"!"])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_wrong_content_is_deleted_and_refused(server, content, size):
    server.content = content
    wanted = asset(server.url, size=size)
    with pytest.raises(ChecksumError) as caught:
        fetch(wanted)
    for word in (server.url, SHA256, str(assets.locate(wanted))):
        assert word in str(caught.value)
    assert not assets.locate(wanted).exists()
    assert not part_of(assets.locate(wanted)).exists()


def test_a_part_of_another_file_is_thrown_away_by_the_checksum(server):
    path = assets.locate(asset())
    path.parent.mkdir(parents=True)
    part_of(path).write_bytes(b"x" * 1000)
    with pytest.raises(ChecksumError):
        fetch(asset(server.url))
    assert fetch(asset(server.url)).read_bytes() == CONTENT


def test_an_endless_answer_is_cut_off(server):
    server.content = CONTENT * 40
    server.behaviour = frozenset({"no length"})
    seen = []
    with pytest.raises(ChecksumError):
        assets.fetch(asset(server.url), lambda done, total: seen.append(done))
    assert max(seen) <= len(CONTENT) + (1 << 20)


def test_redirect_to_a_local_file_is_refused(server):
    server.behaviour = frozenset({"redirect to file"})
    with pytest.raises(OfflineError, match="neither http nor https"):
        fetch(asset(server.url))
    assert not assets.locate(asset()).exists()


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "/etc/hostname", ""])
def test_only_http_addresses_are_tried(server, url):
    with pytest.raises(PluginError, match="http or https"):
        fetch(asset(url))


@pytest.mark.parametrize(
    ("place", "hint"),
    [("data", "CFBENCH_HOME to a folder that has data/file.bin"), ("torch", "TORCH_HOME to a folder that has hub")],
)
def test_without_network_the_message_says_which_file_and_where_to_put_it(server, place, hint):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: the connection is refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
        wanted = asset(url, place=place)
        with pytest.raises(OfflineError) as caught:
            fetch(wanted)
    for word in (
        "file.bin could not",
        url,
        "no connection",
        f"{len(CONTENT):,} bytes",
        str(assets.locate(wanted)),
        hint,
    ):
        assert word in str(caught.value)


@pytest.mark.parametrize(("behaviour", "reason"), [("silent", "no answer within 0.2 s"), ("slow", "was cut")])
def test_a_server_that_falls_silent_times_out(server, behaviour, reason):
    server.behaviour = frozenset({behaviour})
    with pytest.raises(OfflineError, match=reason):
        fetch(asset(server.url), timeout=0.2)


def test_no_space_is_found_before_the_download(server, monkeypatch):
    monkeypatch.setattr(assets.shutil, "disk_usage", lambda _: SimpleNamespace(free=1234))
    with pytest.raises(StoreError, match=rf"needs {len(CONTENT):,} bytes, .* has 1,234 free"):
        fetch(asset(server.url))
    assert not part_of(assets.locate(asset())).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_is_a_store_error(server):
    path = assets.locate(asset())
    path.parent.mkdir(parents=True)
    part_of(path).symlink_to("/dev/full")
    with pytest.raises(StoreError, match=rf"needs {len(CONTENT):,} bytes, .* free: make room"):
        fetch(asset(server.url))


def test_a_place_that_cannot_be_made_is_a_store_error(server, monkeypatch, tmp_path):
    (tmp_path / "plain").write_text("a file")
    monkeypatch.setenv("CFBENCH_HOME", str(tmp_path / "plain"))
    with pytest.raises(StoreError, match=r"cannot be written .* set CFBENCH_HOME"):
        fetch(asset(server.url))


def test_a_folder_of_the_user_is_never_written_to(server, tmp_path):
    wanted = asset(server.url, root=tmp_path / "mine")
    with pytest.raises(DataError, match="leave `root` empty"):
        fetch(wanted)
    assert not (tmp_path / "mine").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file.bin").write_bytes(b"wrong")
    with pytest.raises(ChecksumError):
        fetch(wanted)
    (tmp_path / "mine" / "file.bin").write_bytes(CONTENT)
    assert fetch(wanted) == tmp_path / "mine" / "file.bin"
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["file.bin"]
    assert server.asked == []


# --- several processes ---------------------------------------------------------------------------------------------

CHILD = """
import sys
from cfbench import assets
from cfbench.specs import Asset
wanted = Asset(name="file.bin", url=sys.argv[1], checksum=sys.argv[2], size=int(sys.argv[3]))
print(assets.fetch(wanted, lambda done, total: None))
"""


def child(server):
    command = [sys.executable, "-c", CHILD, server.url, f"sha256:{SHA256}", str(len(CONTENT))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_that_want_the_same_file_download_it_once(server):
    server.behaviour = frozenset({"slow"})
    children = [child(server) for _ in range(3)]
    assert server.started.wait(20)
    server.proceed.set()
    answers = [c.communicate(timeout=30)[0].strip() for c in children]
    assert answers == [str(assets.locate(asset()))] * 3
    assert len(server.asked) == 1


def test_the_lock_of_a_killed_process_is_free_again(server):
    server.behaviour = frozenset({"slow"})
    first = child(server)
    assert server.started.wait(20)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=10)
    server.behaviour = frozenset()
    assert fetch(asset(server.url)).read_bytes() == CONTENT
