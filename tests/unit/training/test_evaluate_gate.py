"""`training/evaluate.py --compare NEW OLD --gate`: the verdict, and the exit status."""

import json
from pathlib import Path

import pytest

from tests.support.evaluate_command import complaint
from tests.support.evaluated_students import evaluated, write_rows
from tests.support.made_up_reports import LABELS, write_report
from training.evaluate import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Evaluations of a model, of one like it, and of one whose labels are all wrong."""
    folder = tmp_path_factory.mktemp("evaluations")
    write_report(folder / "good", seed=0)
    write_report(folder / "other", seed=1)
    write_report(folder / "wrong", seed=2, right=False, label=LABELS[0], confidence=0.99)
    return folder


def gate(folder: Path, new: str, old: str, out: Path) -> int:
    command = ["--compare", str(folder / new), str(folder / old), "--gate", "--out", str(out)]
    return main(command)


def test_a_model_that_is_not_worse(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(folder, "other", "good", tmp_path) == 0
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["admitted"] is True
    assert verdict["sentence"].startswith("not significantly worse")
    for name, which in (("other", "new"), ("good", "old")):
        run = json.loads((folder / name / "run.json").read_text())
        assert verdict[which] == run["model"]
        assert verdict["data"] == run["data"]
    comparison = json.loads((tmp_path / "comparison.json").read_text())["comparison"]
    measured = verdict["measured"]
    assert measured["accuracy_difference"] == comparison["accuracy"]["value"]
    assert measured["p"] == comparison["mcnemar"]
    assert str(tmp_path / "comparison.html") in capsys.readouterr().out


def test_a_worse_model_is_refused_with_the_figures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(folder, "wrong", "good", tmp_path) == 1
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["admitted"] is False
    printed = capsys.readouterr()
    assert printed.err.endswith(f"evaluate: {verdict['sentence']}\n")
    assert verdict["sentence"].startswith(
        "significantly worse in label accuracy (60 points lower) and in calibration (Brier score "
    )
    assert (tmp_path / "comparison.html").is_file()


def test_a_verdict_does_not_outlive_its_comparison(folder: Path, tmp_path: Path) -> None:
    assert gate(folder, "other", "good", tmp_path) == 0
    both = [str(folder / name) for name in ("other", "good")]
    assert main(["--compare", *both, "--out", str(tmp_path)]) == 0
    assert not (tmp_path / "verdict.json").exists()


def test_a_checkpoint_cannot_be_admitted(
    brief_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", "open", 3)
    evaluated(tmp_path / "a", brief_checkpoint, "--data", rows)
    command = ["--compare", tmp_path / "a", tmp_path / "a", "--gate", "--out", tmp_path / "out"]
    line = complaint([*command], capsys)
    assert f"--gate: A is the evaluation of {brief_checkpoint}, which is no bundle" in line
    assert not (tmp_path / "out" / "verdict.json").exists()
