import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.support.server_process import ROOT, environment
from tests.support.simple_problems import RECIPE, write_problems
from training.ablate import main
from training.evaluation.ablation import load_ablation
from training.trainer import TwoPassTrainer

CELLS = ["sums/dss/seed-0", "sums/mi/seed-0", "sums/dss/seed-1", "sums/mi/seed-1"]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """Four tiny students."""
    write_problems(tmp_path / "train.jsonl", rows=60, seed=0)
    write_problems(tmp_path / "test.jsonl", rows=10, seed=1)
    recipe = yaml.safe_load((RECIPE).read_text())
    recipe |= {"steps": 24, "eval_every": 8, "batch_size": 8, "validation_rows": 12}
    recipe["data"] |= {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "test")}
    recipe["model"]["scratch"]["d_model"] = 32
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    path = tmp_path / "plan.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "seeds": [0, 1],
                "datasets": {"sums": {"recipe": "recipe.yaml"}},
                "arms": {"dss": {"changes": ["objective=dss"]}, "mi": {"shuffle": 0.5}},
                "comparisons": [
                    {"title": "T", "datasets": ["sums"], "baseline": "dss", "arms": ["mi"]}
                ],
            }
        )
    )
    return path


def stopped_in(cell: str, number: int, arguments: list[str]) -> int:
    """Runs the ablation, which sends itself a signal in a step of that cell."""
    original = TwoPassTrainer.training_step

    def training_step(self: TwoPassTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if cell in str(self.args.output_dir) and self.state.global_step == 13:
            os.kill(os.getpid(), number)
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TwoPassTrainer, "training_step", training_step)
        return main(arguments)


PROGRAM = """
import signal, sys
from tests.unit.training.test_ablate import stopped_in
stopped_in(sys.argv[1], signal.SIGKILL, sys.argv[2:])
"""


def test_stopped_twice_and_the_same_as_if_never(
    plan: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = [str(plan), "--out", str(out)]
    killed = subprocess.run(
        [sys.executable, "-c", PROGRAM, CELLS[1], *command],
        cwd=ROOT,
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    first = (out / CELLS[0] / "result.json").stat()
    second = out / CELLS[1] / "train.log"
    (evaluated,) = re.findall(r"validation: .* loss [\d.]+", second.read_text())
    assert not (out / CELLS[1] / "result.json").exists()

    assert stopped_in(CELLS[2], signal.SIGINT, command) == 130
    printed = capfd.readouterr().err
    assert printed.endswith("stopped; the same command goes on\n")
    assert "2 of 4 done, about " in printed
    assert "Traceback" not in printed
    assert not (out / CELLS[2] / "result.json").exists()
    # the second student went on where it was, and not from its beginning
    assert second.read_text().count(evaluated) == 1
    assert second.read_text().count("validation: ") > 1

    assert main(command) == 0
    assert "4 of 4 done" in capfd.readouterr().err
    assert (out / CELLS[0] / "result.json").stat() == first

    assert main([str(plan), "--out", str(whole)]) == 0
    for cell in CELLS:
        result = (out / cell / "result.json").read_text()
        assert result == (whole / cell / "result.json").read_text()
        records = json.loads(result)["records"]
        assert len({record["text"] for record in records}) == 10
        assert all(record["rationale"] for record in records)
        test = json.loads((out / cell / "student.json").read_text())["metrics"]["test"]
        right = sum(record["right"] for record in records)
        assert test["accuracy"] == pytest.approx(right / 10)
        assert json.loads(result)["mi_bound"] == test["mi_bound"]
    assert (out / "report.md").read_text() == (whole / "report.md").read_text()
    assert json.loads((out / "report.json").read_text())["missing"] == []


def test_cells_of_another_process_are_left_to_it(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "out", tmp_path / "page.md"
    page.write_text("<!-- ablation -->\n<!-- /ablation -->\n")
    for cell in CELLS[1:]:
        (out / cell).mkdir(parents=True)
    files = [(out / cell / "lock").open("w") for cell in CELLS[1:]]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)
    assert main([str(plan), "--out", str(out), "--readme", str(page)]) == 0
    for file in files:
        file.close()
    missing = f"Not there yet: {', '.join(CELLS[1:])}."
    assert missing in page.read_text()
    assert missing in (out / "report.md").read_text()
    assert not (out / CELLS[1] / "result.json").exists()

    # a result of another plan is neither skipped nor overwritten
    plan.write_text(plan.read_text().replace("objective=dss", "objective=kl"))
    assert main([str(plan), "--out", str(out), "--report"]) == 2
    assert "is of another plan or recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("objective=dss", "colour=red", "colour: "),
        ("recipe.yaml", "nowhere.yaml", "nowhere.yaml: no such file"),
        ("seeds:", "sedes:", "sedes: "),
    ],
)
def test_what_is_wrong_takes_one_line_and_exit_code_2(
    plan: Path,
    tmp_path: Path,
    old: str,
    new: str,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan.write_text(plan.read_text().replace(old, new))
    out = tmp_path / "out"
    assert main([str(plan), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ablate: ")
    assert complaint in line
    assert not out.exists()


def test_a_page_without_the_block(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks")
    out = ["--out", str(tmp_path / "out")]
    assert main([str(plan), *out, "--report", "--readme", str(page)]) == 2
    assert "has no <!-- ablation -->" in capsys.readouterr().err


def test_an_ablation_needs_test_rows(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("test:", "validation:"))
    assert load_ablation(plan).config(load_ablation(plan).cells()[0], tmp_path).data.test is None
    assert main([str(plan), "--out", str(tmp_path / "out")]) == 2
    assert "data names no test rows" in capsys.readouterr().err
