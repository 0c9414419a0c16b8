import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.recorded_losses import gradients_of, losses, record
from tests.support.rounding_bounds import assert_same_gradients, assert_same_weights
from tests.support.server_process import environment
from training.distill import main

STEPS = 4
CHANGES = [f"steps={STEPS}", "eval_every=2", "learning_rate=1e-3", "warmup_steps=0"]


def alone(arguments: list[str], folder: Path) -> dict[int, float]:
    with pytest.MonkeyPatch.context() as patch:
        record(patch, folder / "alone.jsonl")
        assert main([*arguments, *CHANGES, f"output_dir={folder / 'alone'}"]) == 0
    return losses(folder / "alone.jsonl")


def two_processes(arguments: list[str], file: Path) -> None:
    """Under torchrun. Rank r writes its losses to `file` with r at the end."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "-m", "tests.support.recorded_losses", file, "-1"),
            *arguments,
        ],
        cwd=ROOT,
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(("objective", "parts"), [("kl", 1), ("mi-infonce", 1), ("mi-infonce", 2)])
def test_two_processes_learn_what_one_does(
    arguments: list[str], tmp_path: Path, objective: str, parts: int
) -> None:
    run = [*arguments, f"objective={objective}"]
    expected = alone(run, tmp_path)
    file = tmp_path / "losses"
    two_processes([*run, f"gradient_accumulation_steps={parts}", *CHANGES], file)
    ranks = [losses(file.with_name(f"losses{rank}")) for rank in (0, 1)]
    for step in range(STEPS):
        mean = (ranks[0][step] + ranks[1][step]) / 2  # as gradients are averaged
        assert mean == pytest.approx(expected[step], rel=1e-5)
    of_one = gradients_of(tmp_path / "alone.jsonl")
    assert_same_gradients(gradients_of(file.with_name("losses0")), of_one)
    assert_same_weights(
        tmp_path / "out", tmp_path / "alone", gradients=of_one, learning_rate=1e-3, steps=STEPS
    )
