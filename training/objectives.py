"""The objectives: each a pure function of the two passes' outputs.

Losses are scalars, in nats. The combined loss is L = α·L_predict + (1 − α)·L_explain + β·L_MI
(arXiv 2403.03348, eq. 8). Each objective gives it as "loss", and its terms beside it, unweighted.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from training.student.contrastive import info_nce
from training.student.passes import IGNORED, Pass, WholeBatch

Losses = dict[str, Tensor]


class Options(NamedTuple):
    """What the recipe says of the objective. Each looks at its own options alone."""

    alpha: float = 0.5
    beta: float = 0.1
    alpha_by_entropy: bool = False
    beta_warmup_steps: int = 0
    reduction: str = "max"  # or "mean", over target positions
    detach: str = "none"  # or "predict", "explain": which side L_MI does not teach
    temperature: float = 0.1
    mask_same_label: bool = False

    def at_step(self, step: int) -> "Options":
        """The options at an optimiser's step, from 0: β rises from 0 in a line, then stays."""
        if step >= self.beta_warmup_steps:
            return self
        return self._replace(beta=self.beta * step / self.beta_warmup_steps)


def finetune(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """Labels alone: L_predict."""
    label = cross_entropy(predict, whole.label_tokens)
    return {"loss": label, "loss_predict": label}


def dss(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """Distilling Step-by-Step (arXiv 2305.02301): both cross-entropies."""
    if options.alpha_by_entropy:
        return _dss_by_entropy(predict, explain, options, whole)
    label = cross_entropy(predict, whole.label_tokens)
    rationale = cross_entropy(explain, whole.rationale_tokens)
    loss = options.alpha * label + (1 - options.alpha) * rationale
    return {"loss": loss, "loss_predict": label, "loss_explain": rationale}


def mi_official(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """DSS and the term that the authors of arXiv 2403.03348 published; kept for comparison."""
    term = official_mutual_information_loss(predict, explain, whole.rationale_rows)
    return _with_term("loss_mi", term, dss(predict, explain, options, whole), options)


def mi_unsafe(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """DSS and `mutual_information_loss`, which can teach the label in place of the rationale."""
    term = mutual_information_loss(
        predict, explain, options.reduction, options.detach, whole.rationale_rows
    )
    return _with_term("loss_mi", term, dss(predict, explain, options, whole), options)


def kl(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """DSS and a similarity of the two distributions: the paper's counter-example to MI."""
    term = symmetric_kl_loss(
        predict, explain, options.reduction, options.detach, whole.rationale_rows
    )
    return _with_term("loss_kl", term, dss(predict, explain, options, whole), options)


def mi_infonce(predict: Pass, explain: Pass, options: Options, whole: WholeBatch) -> Losses:
    """DSS and symmetric InfoNCE over the pairs of the whole batch: a bound on I(Z;V) itself.

    Z and V are the passes' states, and no word of either is compared with one of the other.
    """
    assert whole.pairs is not None
    per_row = info_nce(
        whole.pairs,
        whole.own,
        temperature=options.temperature,
        mask_same_label=options.mask_same_label,
    )
    # the gradient of all rows, as each has this part's among its negatives; the value of this part
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
    """The sum over the target positions, divided by `tokens`; 0 where there are none."""
    if one.logits is None:
        return F.nll_loss(one.log_probs, one.labels[one.targets], reduction="sum") / tokens
    total = F.cross_entropy(
        one.logits.flatten(0, 1), one.labels.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    return total / tokens


def official_mutual_information_loss(predict: Pass, explain: Pass, rows: Tensor | float) -> Tensor:
    """The term of the authors' code, github.com/xinchen9/cot_distillation_ACL2024, to the last bit.

    Each pass's probabilities are maximised over all positions, padding included. Those of the
    explain pass stand where `cross_entropy` expects logits, and the target (the predict pass,
    detached) does not sum to 1. That code knows no rows without a rationale; here they are left
    out.
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
    """−Σ_w P(w) log Q(w), with P of the predict pass and Q of the explain pass.

    P and Q are vocabulary distributions, each reduced over its own target positions. With P
    detached this is the variational bound I(Z;V) ≥ H(Z) − CE (Barber and Agakov, 2003), the
    explain pass being the variational family and H(Z) constant. With the explain pass detached
    the roles are swapped: −Σ_w Q(w) log P(w). With "none", −Σ_w P(w) log Q(w) teaches both, and is
    no bound: P can lower it by losing entropy. The sum over the rows that have a rationale,
    divided by `rows`; 0 where none has.

    Do not train with it: it is a bound on the wrong variables. P and Q are of words, not of what
    the passes know, and for a given P the least value is at Q = P: a rationale that is its label.
    So the term pulls the words of the label into the rationale, most of all at its first position,
    where the same weights write the label in the other pass. It counts once a row, beside a
    cross-entropy that is the mean over tokens, so at β = 0.1 it pulls as hard as that pushes back.
    training/README.md has the gradients and the runs. Where the predict pass is the one that is
    taught, or where the label's words are left out of P and Q, no rationale was lost.
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
    """½ KL(P‖Q) + ½ KL(Q‖P) of the distributions of `mutual_information_loss`, over the same rows.

    Half of each direction, as in R-Drop (arXiv 2106.14448).
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
    """[B,V]: a pass's next-token distributions, reduced over its target positions, as logs.

    "mean" averages the probabilities; "max" takes the largest over the positions, renormalised.
    """
    log_probs = one.log_probs
    rows = log_probs.split(one.targets.sum(dim=1).tolist())

    def reduced(row: Tensor) -> Tensor:
        if not len(row):  # a row without a target
            return log_probs.new_zeros(log_probs.shape[-1])
        return row.max(dim=0).values if reduction == "max" else row.logsumexp(dim=0)

    return F.log_softmax(torch.stack([reduced(row) for row in rows]), dim=-1)


def alpha_by_entropy(predict: Pass, alpha: float) -> Tensor:
    """[B]: an α of its own for each row, ½ (α + exp(−H)), which no gradient flows into.

    H is the entropy (nats) of the student's next-token distributions, averaged over the label's
    positions; exp(−H), 1 where the student is sure, is one over the number of tokens that it
    hesitates between. So rows whose label it hesitates over learn more from their rationale, and
    none has less than half of α, or of 1 − α. The formula is ours; that uncertain rows deserve
    another weight is an idea of EAST (arXiv 2503.23913), which weighs whole rows by the entropy
    of sampled answers.
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
