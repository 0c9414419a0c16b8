"""The objectives: each is a pure function of the outputs of the two passes.

The loss is L = α·L_predict + (1 − α)·L_explain + β·L_MI (arXiv 2403.03348, eq. 8). An objective
returns `Losses`: L as "loss", and its terms without their weights as "loss_predict",
"loss_explain", and "loss_mi" or "loss_kl". All are scalars in nats. Shapes have B rows, T target
positions and V tokens of the vocabulary.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from training.student.contrastive import info_nce
from training.student.passes import IGNORED, Pass, WholeBatch

Losses = dict[str, Tensor]  # by name, scalars in nats; "alpha" is a share


class Options(NamedTuple):
    """The recipe's options. An objective reads only its own (see `defaults.OPTIONS`)."""

    alpha: float = 0.5
    beta: float = 0.1
    alpha_by_entropy: bool = False
    beta_warmup_steps: int = 0
    reduction: str = "max"  # or "mean", over target positions
    detach: str = "none"  # or "predict", "explain": the pass that L_MI does not train
    temperature: float = 0.1
    mask_same_label: bool = False

    def at_step(self, step: int) -> "Options":
        """The options at a step of the optimizer (from 0): β rises linearly from 0, then stays."""
        if step >= self.beta_warmup_steps:
            return self
        return self._replace(beta=self.beta * step / self.beta_warmup_steps)


def finetune(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """L_predict, the cross-entropy of the labels alone."""
    label = cross_entropy(predict, whole.label_tokens)
    return {"loss": label, "loss_predict": label}


def dss(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """α·L_predict + (1 − α)·L_explain: Distilling Step-by-Step (arXiv 2305.02301)."""
    if options.alpha_by_entropy:
        return _dss_by_entropy(predict, explain, options, whole)
    label = cross_entropy(predict, whole.label_tokens)
    rationale = cross_entropy(explain, whole.rationale_tokens)
    loss = options.alpha * label + (1 - options.alpha) * rationale
    return {"loss": loss, "loss_predict": label, "loss_explain": rationale}


def mi_official(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """DSS and the term as the code of arXiv 2403.03348 computes it; kept for comparison."""
    term = official_mutual_information_loss(predict, explain, whole.rationale_rows)
    return _with_term("loss_mi", term, dss(predict, explain, options, whole), options)


def mi_unsafe(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """DSS and `mutual_information_loss`, which may train rationales to be their labels."""
    term = mutual_information_loss(
        predict, explain, options.reduction, options.detach, whole.rationale_rows
    )
    return _with_term("loss_mi", term, dss(predict, explain, options, whole), options)


def kl(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """DSS and `symmetric_kl_loss`: what arXiv 2403.03348 compares mutual information with."""
    term = symmetric_kl_loss(
        predict, explain, options.reduction, options.detach, whole.rationale_rows
    )
    return _with_term("loss_kl", term, dss(predict, explain, options, whole), options)


def mi_infonce(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """DSS and symmetric InfoNCE (`info_nce`) over the pairs of the whole batch.

    I(Z;V) ≥ log(rows with a rationale) − term, for the passes' states Z and V. No word of one pass
    is compared with a word of the other.
    """
    assert whole.pairs is not None
    per_row = info_nce(
        whole.pairs,
        whole.own,
        temperature=options.temperature,
        mask_same_label=options.mask_same_label,
    )
    # The gradient is that of all rows, because each has this part's rows among its negatives. The
    # value is that of this part.
    term = per_row.sum() - per_row.sum().detach() + per_row[whole.of_part].sum().detach()
    term = term / whole.rationale_rows
    return _with_term("loss_mi", term, dss(predict, explain, options, whole), options)


OBJECTIVES: dict[str, Callable[[Pass, Pass, Options, WholeBatch], Losses]] = {
    "finetune": finetune,
    "dss": dss,
    "mi-infonce": mi_infonce,
    "mi-official": mi_official,
    "mi-unsafe": mi_unsafe,
    "kl": kl,
}


def cross_entropy(one: Pass, tokens: Tensor | float) -> Tensor:
    """−Σ log P(target), over a pass's target positions, divided by `tokens`: a scalar in nats.

    0 where there is no target.
    """
    if one.logits is None:
        return F.nll_loss(one.log_probs, one.labels[one.targets], reduction="sum") / tokens
    total = F.cross_entropy(
        one.logits.flatten(0, 1), one.labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / tokens


def official_mutual_information_loss(predict: Pass, explain: Pass, rows: Tensor | float) -> Tensor:
    """The term of github.com/xinchen9/cot_distillation_ACL2024, to the last bit: a scalar.

    With p and q [B,V] the largest probabilities of the predict and the explain pass over all
    positions, padding included: −Σ_w p(w) log softmax(q)(w), summed over the rows that have a
    rationale and divided by `rows`. p is detached. So probabilities stand where logits belong, and
    the target p does not sum to 1. Both passes need `logits` [B,T,V].
    """
    has_rationale = explain.has_targets
    assert predict.logits is not None
    assert explain.logits is not None
    target = predict.logits.detach().softmax(dim=-1).max(dim=1).values
    probabilities = explain.logits.softmax(dim=-1).max(dim=1).values
    total = F.cross_entropy(probabilities[has_rationale], target[has_rationale], reduction="sum")
    return total / rows


def mutual_information_loss(
    predict: Pass, explain: Pass, reduction: str, detach: str, rows: Tensor | float
) -> Tensor:
    """−Σ_w P(w) log Q(w), with P of the predict pass and Q of the explain pass: a scalar in nats.

    P and Q [B,V] are vocabulary distributions (`reduced_log_distribution`). The sum over the rows
    that have a rationale, divided by `rows`; 0 where none has.

    With P detached this is the variational bound I(Z;V) ≥ H(Z) − CE (Barber and Agakov, 2003). The
    explain pass is the variational family, and H(Z) is constant. With the explain pass detached
    the roles are swapped: −Σ_w Q(w) log P(w). "none" trains both passes and is no bound, as P can
    lower the loss by losing entropy.

    Do not train with it: it bounds the wrong variables. P and Q are of words, not of what the
    passes know. For a given P the loss is least at Q = P: a rationale that is its label. So the
    term pulls the label's words into the rationale, most of all at its first position. There the
    same weights write the label in the other pass. The term counts once a row, but the
    cross-entropy is a mean over tokens, so at β = 0.1 both are equally strong.
    training/README.md has the gradients and the runs. No rationale was lost where the predict pass
    was the one trained, or where P and Q left out the label's words.
    """
    log_target = reduced_log_distribution(predict, reduction)
    log_family = reduced_log_distribution(explain, reduction)
    if detach == "explain":
        log_target, log_family = log_family, log_target
    if detach != "none":
        log_target = log_target.detach()
    per_row = -(log_target.exp() * log_family).sum(dim=-1)  # [B]
    return per_row[explain.has_targets].sum() / rows


def symmetric_kl_loss(
    predict: Pass, explain: Pass, reduction: str, detach: str, rows: Tensor | float
) -> Tensor:
    """½ KL(P‖Q) + ½ KL(Q‖P) of the P and Q of `mutual_information_loss`: a scalar in nats.

    Rows count as there. Half of each direction, as in R-Drop (arXiv 2106.14448).
    """
    log_p = reduced_log_distribution(predict, reduction)
    log_q = reduced_log_distribution(explain, reduction)
    if detach == "predict":
        log_p = log_p.detach()
    elif detach == "explain":
        log_q = log_q.detach()
    per_row = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=-1) / 2  # [B]
    return per_row[explain.has_targets].sum() / rows


def reduced_log_distribution(one: Pass, reduction: str) -> Tensor:
    """Logs [B,V] of one distribution a row: a pass's, reduced over its target positions.

    "mean" averages the probabilities; "max" takes the largest over the positions. Both are
    normalised. A row without a target gets the uniform distribution.
    """
    log_probs = one.log_probs
    rows = log_probs.split(one.targets.sum(dim=1).tolist())

    def reduced(row: Tensor) -> Tensor:
        if not len(row):  # a row without a target
            return log_probs.new_zeros(log_probs.shape[-1])
        return row.max(dim=0).values if reduction == "max" else row.logsumexp(dim=0)

    return F.log_softmax(torch.stack([reduced(row) for row in rows]), dim=-1)


def alpha_by_entropy(predict: Pass, alpha: float) -> Tensor:
    """An α for each row [B], ½ (α + exp(−H)), without a gradient.

    H is the entropy (nats) of the student's next-token distributions, averaged over the label's
    positions. exp(−H) is 1 where the student is sure, and 1/n where it hesitates between n tokens.
    So a row with an unsure label learns more from its rationale. No row has less than half of α, or
    of 1 − α. The formula is ours. That unsure rows deserve another weight is an idea of EAST
    (arXiv 2503.23913), which weighs whole rows by the entropy of sampled answers.
    """
    log_probs = predict.log_probs.detach()
    entropy = predict.by_position(-(log_probs.exp() * log_probs).sum(dim=-1))  # [B,T]
    mean = entropy.sum(dim=1) / predict.targets.sum(dim=1).clamp(min=1)
    return (alpha + torch.exp(-mean)) / 2


def _dss_by_entropy(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    alpha = alpha_by_entropy(predict, options.alpha)
    label = _row_cross_entropies(predict) / whole.label_tokens  # [B]
    rationale = _row_cross_entropies(explain) / whole.rationale_tokens
    return {
        "loss": (alpha * label + (1 - alpha) * rationale).sum(),
        "loss_predict": label.sum(),
        "loss_explain": rationale.sum(),
        "alpha": alpha.mean(),
    }


def _row_cross_entropies(one: Pass) -> Tensor:
    per_token = F.nll_loss(one.log_probs, one.labels[one.targets], reduction="none")
    return one.by_position(per_token).sum(dim=1)


def _with_term(name: str, term: Tensor, losses: Losses, options: Options) -> Losses:
    return losses | {"loss": losses["loss"] + options.beta * term, name: term}
