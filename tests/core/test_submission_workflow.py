"""The workflow for pull requests: what it takes from them, and what it may do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

GITHUB = Path(__file__).parents[2] / ".github"
WHERE = "leaderboard/records/vcf"


def git(where, *words):
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    names = {f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *words], cwd=where, check=True, capture_output=True, text=True, env={**os.environ, **own, **names}
    )
    return done.stdout.strip()


@pytest.fixture
def base(tmp_path):
    """A repository with one bundle in it, and its commit."""
    where = tmp_path / "repository"
    (where / WHERE).mkdir(parents=True)
    git(where, "init", "-q")
    (where / WHERE / "old.cfbench.zip").write_bytes(b"old")
    (where / "leaderboard" / "index.html").write_text("site")
    git(where, "add", ".")
    git(where, "commit", "-qm", "base")
    return where, git(where, "rev-parse", "HEAD")


def take(base, change):
    """Commit a change, take the bundles from it, and return the folder and the process."""
    where, first = base
    change(where)
    git(where, "add", "-A")
    git(where, "commit", "-qm", "change")
    head = git(where, "rev-parse", "HEAD")
    git(where, "checkout", "-q", first)
    command = [sys.executable, GITHUB / "take_bundles.py", first, head, "taken"]
    return where / "taken", subprocess.run(command, cwd=where, capture_output=True, text=True, check=False)


def test_new_bundles_are_taken_as_they_are(base):
    folder, done = take(base, lambda where: (where / WHERE / "new-1.cfbench.zip").write_bytes(b"a\0b\n"))
    assert done.returncode == 0, done.stderr
    assert [(p.name, p.read_bytes()) for p in folder.iterdir()] == [("new-1.cfbench.zip", b"a\0b\n")]


def link(where):
    (where / WHERE / "new.cfbench.zip").symlink_to("/etc/passwd")


def executable(where):
    path = where / WHERE / "new.cfbench.zip"
    path.write_bytes(b"x")
    path.chmod(0o755)


def moved(where):
    (where / WHERE / "old.cfbench.zip").rename(where / WHERE / "new.cfbench.zip")


def large(where):
    with (where / WHERE / "new.cfbench.zip").open("wb") as file:
        file.truncate(64 * 2**20 + 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (link, "only new bundles"),
        (executable, "only new bundles"),
        (moved, "only new bundles"),
        (large, "larger than 64 MiB"),
        (lambda where: (where / WHERE / "old.cfbench.zip").write_bytes(b"new"), "only new bundles"),
        (lambda where: (where / WHERE / "verified.json").write_text("{}"), "only new bundles"),
        (lambda where: (where / WHERE / "new\n::set-env.cfbench.zip").write_text("x"), "only new bundles"),
        (lambda where: (where / WHERE / "$(id).cfbench.zip").write_text("x"), "only new bundles"),
        (lambda where: (where / WHERE / "-o.cfbench.zip").write_text("x"), "only new bundles"),
        (lambda where: (where / "leaderboard" / "index.html").write_text("other"), "only new bundles"),
        (lambda where: [(where / WHERE / f"n{i}.cfbench.zip").write_bytes(b"x") for i in range(21)], "21 bundles"),
    ],
)
def test_anything_else_is_refused(base, change, words):
    folder, done = take(base, change)
    assert done.returncode == 1
    assert words in done.stderr
    assert not folder.exists() or not list(folder.iterdir())


def test_the_workflow_has_no_rights_and_no_secrets():
    text = (GITHUB / "workflows" / "bundles.yml").read_text()
    content = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - strings only
    assert content["permissions"] == {"contents": "read"}
    assert list(content["on"]) == ["pull_request"]
    assert "secrets." not in text
    steps = content["jobs"]["verify"]["steps"]
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in steps if "uses" in step)
    assert steps[0]["with"]["persist-credentials"] == "false"
    assert "base.sha" in steps[0]["with"]["ref"], "the checks are those of the base branch"
    for step in steps:
        assert "${{" not in step.get("run", ""), "what a pull request is called never becomes a part of a script"


def test_its_scripts_are_scripts():
    content = yaml.safe_load((GITHUB / "workflows" / "bundles.yml").read_text())
    for step in content["jobs"]["verify"]["steps"]:
        if "run" in step:
            subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)
