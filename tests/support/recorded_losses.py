"""Runs `training/distill.py` and records the loss of every step.

`python -m tests.support.recorded_losses FILE KILL_AT [argument …]`. Each process appends its rank
to the name FILE. That file gets a JSON line [step, loss] for each batch. FILE.safetensors, with the
rank before the point, gets the gradients of the first step. In the middle of step KILL_AT the
process kills itself.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.distill import main
from training.trainer import TwoPassTrainer


def record(
    patch: pytest.MonkeyPatch, file: Path, stop_at: int = -1, by: int = signal.SIGKILL
) -> None:
    """Makes the trainer write to `file`, and send itself a signal in the step `stop_at`."""
    original, init = TwoPassTrainer.training_step, TwoPassTrainer.__init__

    def with_gradients(self: TwoPassTrainer, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.add_callback(_FirstGradients(gradients_of(file)))

    def training_step(self: TwoPassTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = original(self, *args, **kwargs)
        with file.open("a") as lines:
            lines.write(json.dumps([self.state.global_step, loss.item()]) + "\n")
        if self.state.global_step == stop_at:
            os.kill(os.getpid(), by)
        return loss

    patch.setattr(TwoPassTrainer, "training_step", training_step)
    patch.setattr(TwoPassTrainer, "__init__", with_gradients)


def gradients_of(file: Path) -> Path:
    """The file of the first step's gradients, which `record` writes beside a file of losses."""
    return file.with_name(f"{file.name}.safetensors")


class _FirstGradients(TrainerCallback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: torch.nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        if state.global_step == 0 and model is not None:
            gradients = {name: weight.grad for name, weight in model.named_parameters()}
            save_file({name: one for name, one in gradients.items() if one is not None}, self.path)


def losses(file: Path) -> dict[int, float]:
    """The loss of each step, summed over its batches. Of a repeated step, the last one counts."""
    steps: dict[int, float] = {}
    previous = None
    for line in file.read_text().splitlines():
        step, loss = json.loads(line)
        steps[step] = loss + (steps[step] if step == previous else 0)
        previous = step
    return steps


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.setswitchinterval(5)  # seconds: threads that nobody waits for get the lock late, or never
    path, stop_at, *arguments = sys.argv[1:]
    with pytest.MonkeyPatch.context() as patch:
        record(patch, Path(path + os.environ.get("RANK", "")), int(stop_at))
        sys.exit(main(arguments))
