"""Stops a run so that it can go on: a signal saves a checkpoint after the current step."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
import torch.distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGREE_EVERY = 10  # steps: processes wait for each other when they compare signals


class Interrupted(Exception):
    """A signal stopped the run, after its checkpoint was saved."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number  # as of a shell


class SaveWhenSignalled(TrainerCallback):
    """Saves and ends the training after SIGINT or SIGTERM. A second SIGINT ends it at once."""

    def __init__(self) -> None:
        self.signal = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Catches signals while it is open. Raises Interrupted at its end if one came."""
        before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.signal:
            raise Interrupted(self.signal)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if args.world_size > 1:  # all must stop at the same step
            if state.global_step % AGREE_EVERY:
                return
            latest = torch.tensor(self.signal, device=args.device)
            torch.distributed.all_reduce(latest, torch.distributed.ReduceOp.MAX)
            self.signal = int(latest)
        if self.signal:
            control.should_save = control.should_training_stop = True
