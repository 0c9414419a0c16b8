"""Evaluates the last step of a run, whatever the steps between two evaluations are."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class EvaluateLastStep(TrainerCallback):
    """Logs, evaluates and saves the last step. It is kept if it is the best."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = control.should_evaluate = control.should_save = True
