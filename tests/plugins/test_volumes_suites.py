"""Sets of volumes through the verbs of the command line: `cfbench data check`."""

import pytest
from click.testing import CliRunner
from plugins.volumes_made import head, make_spider, make_verse, save, save_task01

from cfbench.cli.main import cli


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verse", "size=48", "spacing=2.0"], ["8 cases", "grade 0:5 1:1 2:1 3:1", "published / here"]),
        (["spider", "valid=0.3"], ["pfirrmann", "source files: sha256"]),
        (["brats", "split=monai", "valid=0.3"], ["edema", "source files: sha256"]),
    ],
)
def test_data_check_counts_what_is_there(tmp_path, words, said) -> None:
    makers = {"verse": make_verse, "spider": make_spider, "brats": lambda root: save_task01(root, 10)}
    root = makers[words[0]](tmp_path / "data")
    if words[0] == "verse":
        words = [*words, "split=patients", "valid=0.0", "test=0.0"]
    done = CliRunner().invoke(cli, ["-p", "no:mlflow", "data", "check", *words, f"root={root}"])
    assert done.exit_code == 0, done.output
    assert "all well" in done.output
    for text in said:
        assert text in done.output, done.output


def test_a_folder_of_volumes_runs_through_the_verbs(tmp_path) -> None:
    for number in range(12):
        save(tmp_path / f"data/{number:02d}.nii.gz", head((20, 24, 18), number), (8, 8, 8))
    rows = "".join(f"{number:02d}.nii.gz,{number % 2}\n" for number in range(12))
    (tmp_path / "data/cases.csv").write_text("file,label\n" + rows)
    settings = [f"root={tmp_path / 'data'}", "size=[16,18,16]", "spacing=[9.0]", "valid=0.2", "test=0.3"]
    done = CliRunner().invoke(cli, ["-p", "no:mlflow", "data", "check", "volume-folder", *settings])
    assert done.exit_code == 0, done.output
    assert "1 x 16x18x16" in done.output
    assert "patients unknown" in done.output
    assert "label 0:" in done.output
