"""What a run shows while it trains: a bar on a terminal, and a few numbers at each evaluation."""

import sys
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

# of no use in a line: TensorBoard and others get them with the rest
LEFT_OUT = ("epoch", "exact", "grad_norm", "learning_rate", "selection")
SPEED = ("runtime", "samples_per_second", "steps_per_second")
EVALUATION, RATIONALES = "eval_", "rationales_"


class Progress(TrainerCallback):
    """Prints the means of a step's losses since the last line, and what an evaluation found.

    In place of transformers' own callbacks, which print dicts and a bar for every evaluation.
    """

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.bar = tqdm(
                total=state.max_steps,
                initial=state.global_step,
                unit=" steps",
                leave=False,
                disable=None,  # where stderr is no terminal
                dynamic_ncols=True,
            )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self.bar is not None and (line := line_of(logs or {}, state)):
            tqdm.write(line)
            sys.stdout.flush()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def line_of(logs: dict[str, float], state: TrainerState) -> str:
    """The line for what the trainer logs; empty for its figures of the whole run."""
    if "train_runtime" in logs:
        return ""
    at = f"step {state.global_step} of {state.max_steps}"
    if f"{EVALUATION}loss" not in logs:
        return f"{at}: {', '.join(_facts(logs))}"
    found = {
        name.removeprefix(EVALUATION): value
        for name, value in logs.items()
        if name.removeprefix(EVALUATION) not in SPEED
    }
    shares = {
        name.removeprefix(RATIONALES): 100 * found.pop(name)
        for name in list(found)
        if name.startswith(RATIONALES)
    }
    line = (
        f"{at}, validation: {100 * found.pop('accuracy'):.1f} % right, {', '.join(_facts(found))}"
    )
    if shares:
        of_them = [
            f"{share:.1f} % {name}" for name, share in shares.items() if share or name == "healthy"
        ]
        line += f"; rationales: {', '.join(of_them)}"
    return line


def _facts(logs: dict[str, float]) -> list[str]:
    return [f"{name} {value:.4g}" for name, value in logs.items() if name not in LEFT_OUT]
