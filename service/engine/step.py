"""Steps: one run of the decoder for all sequences of a pool together."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from service.engine.runner import Runner, StepInput, StepOutput
from service.engine.sequence import Proposal, Sequence
from service.engine.slots import Slots
from service.errors import INTERNAL, InternalError

# What a step costs beside its new tokens, in new tokens. On two cores a T5-small in fp32 took 7.5,
# 12 and 36 ms for 1, 8 and 32 of them, one in int8 1.5, 2.1 and 4.7 ms, and a student of 2.4 M
# parameters in int8 0.21, 0.37 and 0.87 ms.
STEP_COST = 8
STEP_TOKENS = 128  # new tokens of a step at most, which bounds the memory for their logits

logger = logging.getLogger(__name__)


def take_step(runner: Runner, slots: Slots, sequences: list[Sequence]) -> None:
    """Takes the n sequences in `slots`, in their order, one step further.

    Raises what the runner raises. A sequence that raises an exception itself fails alone.
    """
    rows, model = len(sequences), runner.model
    most = max(1, STEP_TOKENS // rows)
    floor = rows / (STEP_COST + rows)  # tokens for the cost of one, without drafts
    proposals = [Proposal([model.pad_id], [0.0])] * rows
    for i, sequence in enumerate(sequences):
        with isolated(sequence):
            proposals[i] = sequence.propose(model, most, floor)
    least = max(proposal.least for proposal in proposals)
    width = best_width([proposal.useful for proposal in proposals], least)
    proposals = [proposal.first(width) for proposal in proposals]

    ids = np.full((rows, width), model.pad_id, np.int64)
    targets = np.full((rows, width), model.pad_id, np.int64)
    positions = slots.lengths[:, None] + np.arange(width)
    for i, proposal in enumerate(proposals):
        new = slice(len(proposal.ids))
        ids[i, new] = proposal.ids
        if proposal.positions is not None:
            positions[i, new] = proposal.positions
        if proposal.target_ids is not None:
            targets[i, new] = proposal.target_ids
    chain = slots.lengths[:, None] + np.arange(width)
    slots.open_step(positions)
    visible = np.arange(slots.width) <= chain[:, :, None]
    for i, proposal in enumerate(proposals):
        for j, entries in enumerate(proposal.visible or ()):
            visible[i, j] = False
            visible[i, j, entries] = True

    output = runner.step(slots, StepInput(ids, positions, visible, targets))
    for i, (sequence, proposal) in enumerate(zip(sequences, proposals, strict=True)):
        of_row = StepOutput(*(values[i, : len(proposal.ids)] for values in output))
        with isolated(sequence):
            slots.keep(i, sequence.accept(proposal, of_row, model.eos_id))


@contextmanager
def isolated(sequence: Sequence) -> Iterator[None]:
    """Has an exception fail the sequence's request alone, and none of its neighbours.

    For what no other sequence can be to blame for. The request leaves before the next step.
    """
    try:
        yield
    except Exception:
        if not sequence.request.over:
            logger.exception("a request failed by itself")
            sequence.request.resolve(InternalError(INTERNAL))


def best_width(useful: list[list[float]], least: int = 1) -> int:
    """New tokens a row, `least` or more, for the most useful tokens in the least time.

    `useful` has for each row the probability that each of its tokens is of use.
    """
    rows = len(useful)
    expected, best, best_rate = 0.0, least, 0.0
    for width in range(1, 1 + max(map(len, useful))):
        expected += sum(row[width - 1] for row in useful if len(row) >= width)
        rate = expected / (STEP_COST + rows * width)
        if width >= least and rate > best_rate:
            best, best_rate = width, rate
    return best
