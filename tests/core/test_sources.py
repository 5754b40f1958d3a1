import sys

import pytest

from cfbench.sources import Sources


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "cfbench_mine"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Mine."""\n')
    (folder / "code.py").write_text("def f(x):\n    return x + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop("cfbench_mine", None)


def digest():
    return Sources().digest("cfbench_mine.code:f")


def test_comments_docstrings_and_layout_do_not_count(package):
    before = digest()
    (package / "code.py").write_text('def f(x):\n    """Add one."""\n    # indeed\n\n    return (x\n            + 1)\n')
    assert digest() == before


def test_code_counts_wherever_it_is_in_the_package(package):
    before = digest()
    (package / "other.py").write_text("y = 1\n")
    middle = digest()
    (package / "code.py").write_text("def f(x):\n    return x + 2\n")
    assert len({before, middle, digest()}) == 3


def test_shared_code_of_the_family_counts(package):
    (package / "code.py").write_text("from cfbench_shared.maths import g\n")
    shared = package.parent / "cfbench_shared"
    shared.mkdir()
    (shared / "__init__.py").write_text("")
    (shared / "maths.py").write_text("g = 1\n")
    before = digest()
    (shared / "maths.py").write_text("g = 2\n")
    assert digest() != before


def test_nothing_is_imported_to_know_it(package):
    (package / "code.py").write_text("raise SystemExit('imported')\n")
    assert digest()
    assert "cfbench_mine.code" not in sys.modules


def test_what_is_remembered_is_what_is_read(package):
    sources = Sources()
    before = sources.digest("cfbench_mine.code:f")
    sources.remember()
    assert digest() == before


def test_what_is_not_there_has_no_digest():
    assert Sources().digest("no_such_package_at_all.code:f") == ""
