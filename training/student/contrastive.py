"""InfoNCE between the two passes: projection heads, and the loss over their outputs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.student.passes import Pairs, Pass

PROJECTION = 128  # dimensions that the views are compared in


class ContrastiveHeads(nn.Module):
    """A projection head for each pass: two layers and a ReLU, as in SimCLR (arXiv 2002.05709)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.predict, self.explain = (
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTION))
            for _ in range(2)
        )

    def forward(self, predict: Pass, explain: Pass, detach: str) -> Pairs:
        """The projected views of both passes: of the mean of the states at their targets.

        `detach` names the pass whose states get no gradient ("none": both do). Its head does.
        """
        views = {"predict": predict.mean_state(), "explain": explain.mean_state()}
        if detach != "none":
            views[detach] = views[detach].detach()
        return Pairs(
            F.normalize(self.predict(views["predict"]).float(), dim=-1),
            F.normalize(self.explain(views["explain"]).float(), dim=-1),
            predict.labels,
            explain.has_targets,
        )


def info_nce(
    pairs: Pairs, mine: slice | Tensor, *, temperature: float, mask_same_label: bool = False
) -> Tensor:
    """The symmetric InfoNCE loss [B] of the rows `mine`, in nats.

    InfoNCE (arXiv 1807.03748) asks a row's predict view for its explain view, among those of all
    `pairs`. The mean of this and the opposite direction is taken, as in arXiv 2103.00020. 0 for a
    row without a rationale, which is no negative of others either. `mask_same_label` leaves out
    negatives with the same label. I(Z;V) ≥ log(usable rows) − mean loss, unless it does.
    """
    rows = torch.arange(len(pairs.usable), device=pairs.usable.device)
    targets = rows[mine]
    excluded = ~pairs.usable.expand(len(targets), -1)  # [B,N]
    if mask_same_label:
        same = (pairs.labels[mine].unsqueeze(1) == pairs.labels).all(dim=-1)
        excluded = excluded | same
    excluded = excluded & (targets.unsqueeze(1) != rows)  # a row is compared with itself

    def one_direction(these: Tensor, others: Tensor) -> Tensor:
        similarity = these[mine] @ others.T / temperature  # [B,N]
        similarity = similarity.masked_fill(excluded, torch.finfo(similarity.dtype).min)
        return F.cross_entropy(similarity, targets, reduction="none")

    loss = one_direction(pairs.predict, pairs.explain) + one_direction(pairs.explain, pairs.predict)
    return (loss / 2).masked_fill(~pairs.usable[mine], 0)
