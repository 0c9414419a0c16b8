"""How long a recipe's training takes on this machine, measured by some steps of it."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from training.config import DistillConfig
from training.data.batches import tokenize_judged
from training.data.splits import Splits
from training.evaluation.sample import AT_THE_END, WHILE_TRAINING
from training.run.arguments import training_arguments
from training.run.distillation import learns_to_explain, trainer_of
from training.student.load import Student

SECONDS: Final = 6.0  # that the steps may take
STEPS: Final = 12  # at most, after those that warm up
WARMING: Final = 2
ROWS: Final = 64  # that are evaluated
EXPLAINED: Final = 16  # rows whose rationales are written


@dataclass(frozen=True)
class Pace:
    """Seconds that the parts of a run take on this machine while nothing else runs on it."""

    step: float
    row: float  # of validation rows, at an evaluation
    rationale: float  # of the sample of rationales

    def seconds(self, config: DistillConfig, validation: int) -> float:
        """The seconds of a run of this recipe, with so many validation rows."""
        evaluations = config.steps // config.eval_every + 1  # once more at the end
        explained = (evaluations - 1) * min(WHILE_TRAINING, validation)
        explained += min(AT_THE_END, validation)
        return (
            config.steps * self.step
            + evaluations * validation * self.row
            + explained * self.rationale
        )


def measure_pace(config: DistillConfig, splits: Splits, student: Student, part: int = 1) -> Pace:
    """The pace of a recipe with this student, whose weights change.

    Only one in `part` rows of a step is computed, and the time is multiplied.
    """
    validation = splits.validation[:ROWS]
    steps = WARMING + STEPS
    with tempfile.TemporaryDirectory() as folder:
        tried = config.model_copy(
            update={
                "batch_size": max(1, config.batch_size // part),
                "steps": steps,
                "eval_every": steps + 1,  # never
                "output_dir": Path(folder),
            }
        )
        clock = Clock()
        trainer = trainer_of(
            tried,
            replace(splits, validation=validation),
            tokenize_judged(tried, validation, student.tokenizer, "validation"),
            learns_to_explain(config, splits),
            student,
            replace(training_arguments(tried, "none"), disable_tqdm=True),
            [clock],
        )
        trainer.rationales, sample = None, trainer.rationales
        trainer.train()
        row = _seconds(trainer.evaluate) / len(validation)
    rationale = 0.0
    if sample is not None:
        rows = sample.rows[:EXPLAINED]
        rationale = _seconds(lambda: list(sample.model.answers(rows))) / len(rows)
    return Pace(median(clock.steps[WARMING:] or clock.steps) * part, row, rationale)


def _seconds(work: Callable[[], object]) -> float:
    began = _now()
    work()
    return _now() - began


def _now() -> float:
    """Seconds of this thread's own work on a CPU, so that what else runs there does not count.

    torch computes a share of each operation in this thread. Beside a GPU, seconds of the clock.
    """
    return time.perf_counter() if torch.cuda.is_available() else time.thread_time()


class Clock(TrainerCallback):
    """Measures each step, and ends the run where its time is up."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self._began = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = _now()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.steps.append(_now() - self._began)
        control.should_training_stop = (
            len(self.steps) > WARMING and sum(self.steps[WARMING:]) > SECONDS
        )
