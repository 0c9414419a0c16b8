"""Generation: texts written greedily, a token a step."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service.engine.job import Row
from service.engine.runner import NewTokens, Runner
from service.engine.slots import Slots


@dataclass(eq=False)
class Generation(Row):
    """A text after a prompt, until the end token or `max_tokens`."""

    max_tokens: int
    tokens: list[int] = field(default_factory=list)  # the end token included
    logprob: float = 0.0  # of all tokens together


def generate_step(runner: Runner, slots: Slots, rows: Sequence[Generation]) -> None:
    """Adds a token to each row's text."""
    model = runner.model
    ids = np.array(
        [[row.tokens[-1] if row.tokens else model.decoder_start_id] for row in rows], np.int64
    )
    positions = slots.lengths[:, None]
    slots.open_step(positions)
    visible = np.arange(slots.width) <= positions[:, :, None]
    choices = runner.step(slots, NewTokens(ids, positions, visible, ids))
    slots.lengths[:] += 1
    for row, token, logprob in zip(
        rows, choices.next_id[:, 0].tolist(), choices.next_logprob[:, 0].tolist(), strict=True
    ):
        row.tokens.append(token)
        row.logprob += logprob
        row.done = token == model.eos_id or len(row.tokens) == row.max_tokens
