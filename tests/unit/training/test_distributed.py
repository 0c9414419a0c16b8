import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.recorded import losses, record
from tests.servers import environment
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
            *("--nproc-per-node", "2", "-m", "tests.recorded", file, "-1"),
            *arguments,
        ],
        cwd=ROOT,
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def assert_equal_weights(one: Path, other: Path) -> None:
    weights, expected = (load_file(folder / "model.safetensors") for folder in (one, other))
    for name, weight in expected.items():
        torch.testing.assert_close(weights[name], weight, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("objective", ["mi", "mi-infonce"])
def test_two_processes_learn_what_one_does(
    arguments: list[str], tmp_path: Path, objective: str
) -> None:
    run = [*arguments, f"objective={objective}"]
    expected = alone(run, tmp_path)
    file = tmp_path / "losses"
    two_processes([*run, *CHANGES], file)
    ranks = [losses(file.with_name(f"losses{rank}")) for rank in (0, 1)]
    for step in range(STEPS):
        mean = (ranks[0][step] + ranks[1][step]) / 2  # as gradients are averaged
        assert mean == pytest.approx(expected[step], rel=1e-5)
    assert_equal_weights(tmp_path / "out", tmp_path / "alone")
