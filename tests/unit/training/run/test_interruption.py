import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.recorded_losses import losses, record
from tests.support.server_process import environment
from tests.support.simple_problems import distillation
from training.distill import main

STOP_AT = 6  # between two checkpoints, and in another epoch than the first


CHANGES = [  # nine steps with dropout, a checkpoint after every fourth
    *("steps=9", "eval_every=4", "model.scratch.d_model=32", "model.scratch.dropout_rate=0.1")
]


@pytest.fixture
def run(tmp_path: Path) -> list[str]:
    return distillation(tmp_path, f"output_dir={tmp_path / 'out'}", *CHANGES)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[int, float], bytes]:
    """The losses and the weights of the run, never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        record(patch, folder / "losses.jsonl")
        assert main(distillation(folder, f"output_dir={folder / 'out'}", *CHANGES)) == 0
    found = losses(folder / "losses.jsonl")
    assert len(set(found.values())) == 9
    return found, weights(folder)


def weights(tmp_path: Path) -> bytes:
    return (tmp_path / "out" / "model.safetensors").read_bytes()


def goes_on(
    run: list[str], tmp_path: Path, uninterrupted: tuple[dict[int, float], bytes]
) -> list[int]:
    """The steps that the same command does; they must end as if nothing had been."""
    before = losses(tmp_path / "losses.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        record(patch, tmp_path / "again.jsonl")
        assert main(run) == 0
    again = losses(tmp_path / "again.jsonl")
    assert (before | again, weights(tmp_path)) == uninterrupted
    return sorted(again)


def test_a_killed_run_goes_on_as_if_nothing_had_been(
    run: list[str], tmp_path: Path, uninterrupted: tuple[dict[int, float], bytes]
) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.support.recorded_losses",
        tmp_path / "losses.jsonl",
        str(STOP_AT),
    ]
    killed = subprocess.run([*command, *run], cwd=ROOT, env=environment(), capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    half = tmp_path / "out" / "checkpoints" / "checkpoint-8"  # as of a kill while it is written
    half.mkdir()
    (half / "trainer_state.json").write_text('{"global_step": ')
    assert goes_on(run, tmp_path, uninterrupted) == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_step_in_work(
    run: list[str],
    tmp_path: Path,
    uninterrupted: tuple[dict[int, float], bytes],
    number: signal.Signals,
    code: int,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    with pytest.MonkeyPatch.context() as patch:
        record(patch, tmp_path / "losses.jsonl", STOP_AT, number)
        assert main(run) == code
    assert "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "out" / "student.json").exists()
    caplog.clear()
    assert goes_on(run, tmp_path, uninterrupted) == [7, 8]
    assert "goes on after step 7 of 9" in caplog.messages
