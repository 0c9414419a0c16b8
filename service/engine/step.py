"""Steps: one run of the decoder for all sequences of a pool together."""

import logging
from itertools import chain

import numpy as np

from service.engine.runner import Runner, StepInput
from service.engine.sequence import Proposal, Sequence
from service.engine.slots import Slots
from service.errors import INTERNAL, InternalError

# The fixed cost of a step, counted in new tokens. Measured on two cores for 1, 8 and 32 new tokens:
# a T5-small took 7.5, 12 and 36 ms in fp32 and 1.5, 2.1 and 4.7 ms in int8; a student of 2.4 M
# parameters took 0.21, 0.37 and 0.87 ms in int8.
STEP_COST = 8
STEP_TOKENS = 128  # most new tokens of a step; limits the memory for their logits

logger = logging.getLogger(__name__)


def take_step(runner: Runner, slots: Slots, sequences: list[Sequence]) -> None:
    """Takes one step of the n sequences in `slots`, given in the order of their rows.

    Raises the runner's errors. If a sequence itself raises an exception, only its request fails.
    """
    rows, model = len(sequences), runner.model
    most = max(1, STEP_TOKENS // rows)
    floor = rows / (STEP_COST + rows)  # useful tokens for the cost of one, in a step without drafts
    proposals = [Proposal([model.pad_id], [0.0])] * rows
    for i, sequence in enumerate(sequences):
        try:
            proposals[i] = sequence.propose(model, most, floor)
        except Exception:
            fail_alone(sequence)
    least = max(proposal.least for proposal in proposals)
    width = best_width([proposal.useful for proposal in proposals], least)
    proposals = [proposal.first(width) for proposal in proposals]
    output = runner.step(slots, _input_of(proposals, width, model.pad_id, slots))
    kept: list[list[int] | range | None] = [None] * rows
    rows_of_output = zip(*(values.tolist() for values in output), strict=True)
    for i, (next_ids, next_logprobs, target_logprobs) in enumerate(rows_of_output):
        logprobs = target_logprobs if proposals[i].target_ids else next_logprobs
        try:
            kept[i] = sequences[i].accept(proposals[i], next_ids, logprobs, model.eos_id)
        except Exception:
            fail_alone(sequences[i])
    slots.keep(kept)


def fail_alone(sequence: Sequence) -> None:
    """Logs the current exception and fails the sequence's request, but no other request.

    For an error that no other sequence can cause. The request leaves before the next step.
    """
    if not sequence.request.over:
        logger.exception("a request failed alone")
        sequence.request.resolve(InternalError(INTERNAL))


def best_width(useful: list[list[float]], least: int = 1) -> int:
    """The number of new tokens per row, at least `least`, that gives the most useful tokens a time.

    `useful` holds, for each row, the probability that each of its tokens is useful.
    """
    rows = len(useful)
    expected, best, best_rate = 0.0, least, 0.0
    for width in range(1, 1 + max(map(len, useful))):
        expected += sum(row[width - 1] for row in useful if len(row) >= width)
        rate = expected / (STEP_COST + rows * width)
        if width >= least and rate > best_rate:
            best, best_rate = width, rate
    return best


def _input_of(proposals: list[Proposal], width: int, pad_id: int, slots: Slots) -> StepInput:
    """The input of a step with all tokens of the proposals. Makes room for them in the slots.

    No proposal has more than `width` tokens.
    """
    ids = np.array([_padded(proposal.ids, width, pad_id) for proposal in proposals], np.int64)
    places = slots.lengths[:, None] + np.arange(width)  # in the cache; for chains also in the text
    positions, targets = places.copy(), ids.copy()
    trees = [(i, proposal) for i, proposal in enumerate(proposals) if proposal.visible]
    for i, tree in trees:
        positions[i, : len(tree.ids)] = tree.positions
        targets[i, : len(tree.ids)] = tree.target_ids
    slots.open_step(positions)
    visible = np.arange(slots.width) <= places[:, :, None]
    for i, tree in trees:
        tokens = [token for token, entries in enumerate(tree.visible) for _ in entries]
        visible[i, : len(tree.ids)] = False
        visible[i, tokens, list(chain.from_iterable(tree.visible))] = True
    return StepInput(ids, positions, visible, targets)


def _padded(ids: list[int], width: int, pad_id: int) -> list[int]:
    return ids + [pad_id] * (width - len(ids))
