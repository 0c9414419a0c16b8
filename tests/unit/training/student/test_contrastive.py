import math

import pytest
import torch

from training.student.contrastive import ContrastiveHeads, info_nce
from training.student.passes import IGNORED, Pairs, Pass

ALL = slice(None)


def some_pairs(labels: list[int], usable: list[bool]) -> Pairs:
    """Similarities, predict views down and explain views across: (1, 0.6, 0), (0, 0.8, 1), …"""
    predict = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], requires_grad=True)
    explain = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], requires_grad=True)
    ids = torch.tensor(labels).unsqueeze(1)
    return Pairs(predict, explain, ids, torch.tensor(usable))


def surprise(right: float, *others: float) -> float:
    """−log of the share of the right one, by hand."""
    return math.log(sum(math.exp(other - right) for other in (right, *others)))


def test_info_nce_by_hand() -> None:
    pairs = some_pairs([1, 2, 3], [True, True, True])
    loss = info_nce(pairs, ALL, temperature=0.5)
    assert loss.tolist() == pytest.approx(
        [
            (surprise(2.0, 1.2, 0.0) + surprise(2.0, 0.0, 1.6)) / 2,
            (surprise(1.6, 0.0, 2.0) + surprise(1.6, 1.2, 1.92)) / 2,
            (surprise(1.2, 1.6, 1.92) + surprise(1.2, 0.0, 2.0)) / 2,
        ]
    )
    sharper = info_nce(pairs, ALL, temperature=0.1)
    assert sharper[0].item() == pytest.approx((surprise(10, 6, 0) + surprise(10, 0, 8)) / 2)


def test_a_row_without_a_rationale_is_nobodys_negative() -> None:
    pairs = some_pairs([1, 2, 3], [True, True, False])
    loss = info_nce(pairs, ALL, temperature=0.5)
    assert loss.tolist() == pytest.approx(
        [
            (surprise(2.0, 1.2) + surprise(2.0, 0.0)) / 2,
            (surprise(1.6, 0.0) + surprise(1.6, 1.2)) / 2,
            0,
        ]
    )
    loss.sum().backward()
    for views in pairs[:2]:
        assert torch.isfinite(views.grad).all()
        assert torch.equal(views.grad[2], torch.zeros(2))


def test_rows_with_the_same_label_need_not_be_negatives() -> None:
    pairs = some_pairs([1, 1, 3], [True, True, True])
    loss = info_nce(pairs, ALL, temperature=0.5, mask_same_label=True)
    assert loss.tolist() == pytest.approx(
        [
            (surprise(2.0, 0.0) + surprise(2.0, 1.6)) / 2,
            (surprise(1.6, 2.0) + surprise(1.6, 1.92)) / 2,
            (surprise(1.2, 1.6, 1.92) + surprise(1.2, 0.0, 2.0)) / 2,
        ]
    )


def test_a_part_has_the_rows_of_the_whole() -> None:
    pairs = some_pairs([1, 1, 3], [True, True, True])
    for masked in (False, True):
        whole = info_nce(pairs, ALL, temperature=0.5, mask_same_label=masked)
        part = info_nce(pairs, slice(1, 3), temperature=0.5, mask_same_label=masked)
        assert torch.equal(part, whole[1:])


@pytest.mark.parametrize("detach", ["predict", "explain", "none"])
def test_heads_project_to_unit_vectors_and_spare_the_detached_states(detach: str) -> None:
    torch.manual_seed(0)
    heads = ContrastiveHeads(width=4)
    labels = torch.tensor([[5, 1], [1, IGNORED], [IGNORED, IGNORED]])
    predict, explain = (
        Pass(torch.zeros(3, 2, 9), labels, torch.randn(3, 2, 4, requires_grad=True))
        for _ in range(2)
    )
    pairs = heads(predict, explain, detach)
    assert pairs.usable.tolist() == [True, True, False]
    torch.testing.assert_close(pairs.predict.norm(dim=1), torch.ones(3))
    info_nce(pairs, ALL, temperature=0.1).sum().backward()
    for side, one in (("predict", predict), ("explain", explain)):
        if side == detach:
            assert one.states.grad is None
        else:
            assert torch.isfinite(one.states.grad).all()
            assert one.states.grad[0].abs().sum() > 0
            assert torch.equal(one.states.grad[1, 1], torch.zeros(4))  # padding
            assert torch.equal(one.states.grad[2], torch.zeros(2, 4))  # no rationale
    assert all(weight.grad.abs().sum() > 0 for weight in heads.parameters())
