"""Generation: texts written greedily, with drafts that a step verifies.

A step puts a row's last token and its draft through the decoder as a chain. Of the draft it keeps
what greedy decoding would have written, and then has one token more, as always: so drafts change
how many steps a text takes, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service.engine.draft import Drafter
from service.engine.job import Row
from service.engine.runner import NewTokens, Runner
from service.engine.slots import Array, Slots

# What a step costs beside its new tokens, in new tokens. A T5-small took 7.5, 12 and 36 ms for 1, 8
# and 32 of them on two cores, a student of 2.4 M parameters 0.25, 0.46 and 1.2 ms.
STEP_COST = 8


@dataclass(eq=False)
class Generation(Row):
    """A text after a prompt, until the end token or `max_tokens`; without a drafter, undrafted."""

    max_tokens: int
    drafter: Drafter | None = None
    tokens: list[int] = field(default_factory=list)  # the end token included
    logprob: float = 0.0  # of all tokens together
    drafted: int = 0  # tokens
    accepted: int = 0  # of these

    def draft(self, floor: float, end_id: int) -> tuple[list[int], list[float]]:
        if self.drafter is None:
            return [], []
        return self.drafter.draft(self.max_tokens - len(self.tokens) - 1, floor, end_id)

    def accept(
        self, draft: list[int], expected: float, chosen: list[int], logprobs: Array, end_id: int
    ) -> int:
        """Adds what is right of the draft, and the token chosen after it. Returns their number.

        `expected` is how many of the draft's tokens were expected to be right.
        """
        right = 0
        while right < len(draft) and draft[right] == chosen[right] != end_id:
            right += 1
        new = chosen[: right + 1]
        self.tokens += new
        for logprob in logprobs[: right + 1].tolist():  # added one by one, as without drafts, so
            self.logprob += logprob  # that not a digit depends on them
        self.drafted += len(draft)
        self.accepted += right
        if self.drafter is not None:
            self.drafter.extend(new)
            self.drafter.learn(expected, right)
        self.done = new[-1] == end_id or len(self.tokens) == self.max_tokens
        return len(new)


def generate_step(runner: Runner, slots: Slots, rows: Sequence[Generation]) -> None:
    """Adds to each row's text a token, and before it what is right of its draft."""
    model = runner.model
    floor = len(rows) / (STEP_COST + len(rows))  # tokens for the cost of one, without drafts
    drafts: list[list[int]] = [[] for _ in rows]
    probabilities: list[list[float]] = [[] for _ in rows]
    for i, row in enumerate(rows):
        with row:
            drafts[i], probabilities[i] = row.draft(floor, model.eos_id)
    width = best_width(probabilities)
    drafts = [draft[: width - 1] for draft in drafts]
    ids = np.full((len(rows), width), model.pad_id, np.int64)
    for i, row in enumerate(rows):
        with row:
            last = row.tokens[-1] if row.tokens else model.decoder_start_id
            ids[i, : 1 + len(drafts[i])] = [last, *drafts[i]]
    positions = slots.lengths[:, None] + np.arange(width)
    slots.open_step(positions)
    visible = np.arange(slots.width) <= positions[:, :, None]
    choices = runner.step(slots, NewTokens(ids, positions, visible, ids))
    for i, row in enumerate(rows):
        with row:
            expected, chosen = sum(probabilities[i][: width - 1]), choices.next_id[i].tolist()
            slots.lengths[i] += row.accept(
                drafts[i], expected, chosen, choices.next_logprob[i], model.eos_id
            )


def best_width(probabilities: Sequence[Sequence[float]]) -> int:
    """New tokens a row for the most right tokens in the least time.

    For each row, the probabilities that its draft is right up to each of its tokens.
    """
    rows = len(probabilities)
    right, best, best_rate = float(rows), 1, rows / (STEP_COST + rows)
    for width in range(2, 2 + max(map(len, probabilities))):
        right += sum(row[width - 2] for row in probabilities if len(row) > width - 2)
        rate = right / (STEP_COST + rows * width)
        if rate > best_rate:
            best, best_rate = width, rate
    return best
