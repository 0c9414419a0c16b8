"""Where the numbers of a run go, beside the terminal."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.yaml_files import ConfigError

PACKAGES = {"tensorboard": "tensorboardX", "trackio": "trackio", "wandb": "wandb"}


def reporting(report_to: str, folder: Path) -> tuple[str, list[TrainerCallback]]:
    """The name of transformers' own reporter, and callbacks that report in its place.

    Raises ConfigError where the package of `report_to` is not installed.
    """
    package = PACKAGES.get(report_to)
    if package is not None and find_spec(package) is None:
        raise ConfigError(f"report_to: {report_to} needs a package; run pip install {package}")
    if report_to == "tensorboard":
        return "none", [TensorBoard(folder / "tensorboard")]
    return report_to, []


class TensorBoard(TrainerCallback):
    """Writes all numbers for TensorBoard. transformers would write them into the folder of the
    checkpoints, which is deleted at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: Any = None

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero:
            return
        if self.writer is None:
            from tensorboardX import SummaryWriter

            self.writer = SummaryWriter(str(self.folder))
        for name, value in (logs or {}).items():
            if isinstance(value, int | float):
                self.writer.add_scalar(name, value, state.global_step)
        self.writer.flush()  # so that a killed run loses none
