"""The objectives: each a pure function of the two passes' outputs.

`logits` is [B,T,V] and `labels` [B,T], where IGNORED marks padding. Losses are scalars, in nats.
The combined loss is L = α·L_predict + (1 − α)·L_explain + β·L_MI (arXiv 2403.03348, eq. 8).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from training.batches import IGNORED


class Pass(NamedTuple):
    """What the decoder gave for one prefix."""

    logits: Tensor  # [B,T,V]
    labels: Tensor  # [B,T]


class Weights(NamedTuple):
    alpha: float
    beta: float
    reduction: str  # "max" or "mean" over target positions, of the MI term


def finetune(predict: Pass, explain: Pass, weights: Weights) -> dict[str, Tensor]:
    """Labels alone: L_predict."""
    label = cross_entropy(predict)
    return {"loss": label, "loss_predict": label}


def dss(predict: Pass, explain: Pass, weights: Weights) -> dict[str, Tensor]:
    """Distilling Step-by-Step (arXiv 2305.02301): both cross-entropies."""
    label, rationale = cross_entropy(predict), cross_entropy(explain)
    loss = weights.alpha * label + (1 - weights.alpha) * rationale
    return {"loss": loss, "loss_predict": label, "loss_explain": rationale}


def mi(predict: Pass, explain: Pass, weights: Weights) -> dict[str, Tensor]:
    """DSS and the mutual-information term."""
    losses = dss(predict, explain, weights)
    losses["loss_mi"] = mutual_information_loss(predict, explain, weights.reduction)
    losses["loss"] = losses["loss"] + weights.beta * losses["loss_mi"]
    return losses


OBJECTIVES: dict[str, Callable[[Pass, Pass, Weights], dict[str, Tensor]]] = {
    "finetune": finetune,
    "dss": dss,
    "mi": mi,
}


def cross_entropy(one: Pass) -> Tensor:
    """Mean over the unpadded target positions; 0 where there are none."""
    total = F.cross_entropy(
        one.logits.flatten(0, 1), one.labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / (one.labels != IGNORED).sum().clamp(min=1)


def mutual_information_loss(predict: Pass, explain: Pass, reduction: str) -> Tensor:
    """−Σ_w P(w) log Q(w), with P of the predict pass (detached) and Q of the explain pass.

    P and Q are vocabulary distributions, each reduced over its own unpadded positions. This is
    the variational bound I(Z;V) ≥ H(Z) − CE (Barber and Agakov, 2003) with the explain pass as
    the variational family; H(Z) is constant because P is detached. Mean over the rows that have
    a rationale; 0 where none has.
    """
    log_p = reduced_log_distribution(predict, reduction).detach()
    log_q = reduced_log_distribution(explain, reduction)
    has_rationale = (explain.labels != IGNORED).any(dim=1)
    per_row = -(log_p.exp() * log_q).sum(dim=-1)  # [B]
    return per_row[has_rationale].sum() / has_rationale.sum().clamp(min=1)


def reduced_log_distribution(one: Pass, reduction: str) -> Tensor:
    """[B,V]: a pass's next-token distributions, reduced over its unpadded positions, as logs.

    "mean" averages the probabilities; "max" takes the largest over the positions, renormalised.
    """
    log_probs = F.log_softmax(one.logits.float(), dim=-1)
    padding = (one.labels == IGNORED).unsqueeze(-1)  # [B,T,1]
    # a finite fill: a row without any target must give zeros in the gradient, not NaN
    log_probs = log_probs.masked_fill(padding, torch.finfo(log_probs.dtype).min)
    reduced = log_probs.amax(dim=1) if reduction == "max" else log_probs.logsumexp(dim=1)
    return F.log_softmax(reduced, dim=-1)
