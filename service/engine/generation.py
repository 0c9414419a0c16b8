"""Generation: texts written greedily, with drafts that a step verifies.

A step puts a row's last token and its draft through the decoder as a chain. Of the draft it keeps
what greedy decoding would have written, and then has one token more, as always: so drafts change
how many steps a text takes, and nothing else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service.engine.draft import Drafter
from service.engine.job import Row
from service.engine.labels import Scoring
from service.engine.runner import NewTokens, Runner
from service.engine.slots import Array, Slots
from tasks.calibration import Calibration

# What a step costs beside its new tokens, in new tokens. A T5-small took 7.5, 12 and 36 ms for 1, 8
# and 32 of them on two cores, a student of 2.4 M parameters 0.25, 0.46 and 1.2 ms.
STEP_COST = 8


@dataclass(eq=False)
class Generation(Row):
    """A text after a prompt, until the end token or `max_tokens`; without a drafter, undrafted.

    Where it explains a label, it waits for that row, and the decoder reads the label first.
    """

    max_tokens: int
    drafter: Drafter | None = None
    explains: "Generation | Scoring | None" = None  # the label's row
    tokens: list[int] = field(default_factory=list)  # the end token included
    logprob: float = 0.0  # of all tokens together
    drafted: int = 0  # tokens
    accepted: int = 0  # of these

    @property
    def ready(self) -> bool:
        return self.explains is None or self.explains.done

    def read(self, start_id: int) -> list[int]:
        """What the decoder reads next, before a draft."""
        if self.tokens:
            return self.tokens[-1:]
        label = [] if self.explains is None else self.explains.tokens
        if self.drafter is not None and label:
            self.drafter.extend(label)
        return [start_id, *label]

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
    reads: list[list[int]] = [[model.pad_id] for _ in rows]
    drafts: list[list[int]] = [[] for _ in rows]
    probabilities: list[list[float]] = [[] for _ in rows]
    for i, row in enumerate(rows):
        with row:
            reads[i] = row.read(model.decoder_start_id)
            drafts[i], probabilities[i] = row.draft(floor, model.eos_id)
    width = max(best_width(probabilities), *map(len, reads))
    drafts = [draft[: width - len(read)] for draft, read in zip(drafts, reads, strict=True)]
    ids = np.full((len(rows), width), model.pad_id, np.int64)
    for i, row in enumerate(rows):
        with row:
            new = [*reads[i], *drafts[i]]
            ids[i, : len(new)] = new
    positions = slots.lengths[:, None] + np.arange(width)
    slots.open_step(positions)
    visible = np.arange(slots.width) <= positions[:, :, None]
    choices = runner.step(slots, NewTokens(ids, positions, visible, ids))
    for i, row in enumerate(rows):
        with row:
            before, draft = len(reads[i]) - 1, drafts[i]
            expected = sum(probabilities[i][: len(draft)])
            chosen, logprobs = choices.next_id[i, before:], choices.next_logprob[i, before:]
            accepted = row.accept(draft, expected, chosen.tolist(), logprobs, model.eos_id)
            slots.lengths[i] += before + accepted


def confidence_of(logprob: float, calibration: Calibration) -> float:
    """How likely a text is to be right, from the log-probability of all of its tokens.

    Tempered (Guo et al., 2017), or where there is an offset its logistic function (Platt, 1999).
    """
    score = logprob / calibration.temperature
    if calibration.offset is None:
        return math.exp(score)
    score += calibration.offset
    return math.exp(min(score, 0.0)) / (1 + math.exp(-abs(score)))


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
