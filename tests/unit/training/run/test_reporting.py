"""Where the numbers of a run go."""

from pathlib import Path

from training.distill import main


def test_reports_for_tensorboard(arguments: list[str], tmp_path: Path) -> None:
    assert main([*arguments, "report_to=tensorboard"]) == 0
    events = b"".join(path.read_bytes() for path in (tmp_path / "out/tensorboard").iterdir())
    for name in (b"loss_explain", b"eval_accuracy", b"learning_rate"):
        assert name in events
