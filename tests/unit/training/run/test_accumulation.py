"""The pairs of accumulated parts: all rows are negatives, and the gradients are those of all."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.run.accumulation import AccumulatedPairs
from training.student.contrastive import info_nce
from training.student.passes import IGNORED, Pairs, WholeBatch

ROWS, PARTS = 6, (slice(0, 2), slice(2, 6))


def views_of(model: nn.Module, rows: Tensor, labels: Tensor) -> Pairs:
    predict, explain = F.normalize(model(rows), dim=-1).chunk(2, dim=1)
    return Pairs(predict, explain, labels, torch.tensor([True] * len(rows)))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_parts_add_up_to_the_whole(dropout: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.Dropout(dropout), nn.Linear(16, 8)).double()
    rows = torch.randn(ROWS, 5, dtype=torch.float64)
    labels = torch.tensor([[1, 2], [3, IGNORED], [4, 5], [6, IGNORED], [7, 8], [9, 9]])

    parts = AccumulatedPairs()
    seen = []
    with torch.no_grad():
        for part in PARTS:
            parts.before_part()
            cut = labels[part][:, :1] if part.stop == 2 else labels[part]  # padded by themselves
            seen.append(views_of(model, rows[part], cut))
            parts.append(seen[-1], slice(0, len(rows[part])))
    # the whole, from the very views that the parts had
    whole = torch.cat([pairs.predict for pairs in seen]), torch.cat([p.explain for p in seen])
    expected = info_nce(
        Pairs(*whole, labels, torch.tensor([True] * ROWS)), slice(None), temperature=0.1
    )

    values, gradient = [], torch.zeros_like(model[0].weight)
    for part, before in zip(PARTS, seen, strict=True):
        torch.randn(100)  # whatever draws random numbers meanwhile
        parts.begin_part()
        live = views_of(model, rows[part], before.labels)
        assert torch.equal(live.predict, before.predict)  # the same dropout
        joined = parts.whole_with(WholeBatch(1, 1, ROWS, live))
        assert joined.pairs is not None
        assert len(joined.pairs.usable) == ROWS
        per_row = info_nce(joined.pairs, joined.own, temperature=0.1)
        torch.testing.assert_close(per_row.detach(), expected)
        assert per_row[joined.of_part].shape == (len(rows[part]),)
        values.append(per_row[joined.of_part].sum().item())
        gradient += torch.autograd.grad(per_row.sum(), model[0].weight)[0]
    assert sum(values) == pytest.approx(expected.sum().item())

    if dropout == 0:
        alone = views_of(model, rows, labels)
        loss = info_nce(alone, slice(None), temperature=0.1).sum()
        torch.testing.assert_close(gradient, torch.autograd.grad(loss, model[0].weight)[0])
