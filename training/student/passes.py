"""What the decoder gives for a batch in the predict pass and in the explain pass."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # the label of padding, which torch's cross-entropy leaves out


class Pass(NamedTuple):
    """What the decoder gave for a batch in one pass. IGNORED labels mark padding."""

    logits: Tensor | None  # [B,T,V]; None where `of_targets` is enough
    labels: Tensor  # [B,T]
    states: Tensor | None = None  # [B,T,D], of the last decoder layer, where they are needed
    of_targets: Tensor | None = None  # [N,V], the log_probs, where the forward gave them

    @property
    def targets(self) -> Tensor:
        """[B,T]: where a target token stands."""
        return self.labels != IGNORED

    @property
    def log_probs(self) -> Tensor:
        """[N,V]: the vocabulary's log-probabilities (nats) at the N targets, row after row."""
        if self.of_targets is not None:
            return self.of_targets
        assert self.logits is not None
        return F.log_softmax(self.logits[self.targets].float(), dim=-1)

    def by_position(self, of_targets: Tensor) -> Tensor:
        """[N] -> [B,T]: values of the target positions at their places, zeros elsewhere."""
        return of_targets.new_zeros(self.labels.shape).masked_scatter(self.targets, of_targets)

    @property
    def has_targets(self) -> Tensor:
        """[B]: which rows have any; a row without a rationale has none in the explain pass."""
        return self.targets.any(dim=1)

    def mean_state(self) -> Tensor:
        """[B,D]: the mean of the states over the target positions; zeros where there are none."""
        assert self.states is not None
        targets = self.targets.unsqueeze(-1)  # [B,T,1]
        total = self.states.float().masked_fill(~targets, 0).sum(dim=1)
        return total / targets.sum(dim=1).clamp(min=1)


class Pairs(NamedTuple):
    """The two projected views of each row, as InfoNCE compares them."""

    predict: Tensor  # [N,D], unit vectors
    explain: Tensor  # [N,D], unit vectors
    labels: Tensor  # [N,T], of the predict pass
    usable: Tensor  # [N]: which rows have a rationale, and so an explain view


class WholeBatch(NamedTuple):
    """The whole batch of a step. The two passes may hold only a part of its rows.

    Each loss is a sum over the part, divided by a count of the whole. So the losses of accumulated
    parts add up to the loss of the whole batch. Where the gradients of P processes are averaged,
    the counts are those of all processes, divided by P. `pairs` then holds the rows of all
    processes, and gradients flow back through it. It also holds the rows of all accumulated parts,
    where only this part's rows get gradients.
    """

    label_tokens: Tensor | float
    rationale_tokens: Tensor | float
    rationale_rows: Tensor | float
    pairs: Pairs | None = None
    own: slice | Tensor = slice(None)  # of `pairs`: the rows of this process, in all parts
    of_part: slice = slice(None)  # of those: this part's

    @classmethod
    def of(cls, predict: Pass, explain: Pass, pairs: Pairs | None = None) -> WholeBatch:
        """The whole batch, where these passes are all of it."""
        return cls(
            predict.targets.sum().clamp(min=1),
            explain.targets.sum().clamp(min=1),
            explain.has_targets.sum().clamp(min=1),
            pairs,
        )
