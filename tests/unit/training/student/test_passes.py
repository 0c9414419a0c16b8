import torch

from training.student.passes import IGNORED, Pass, WholeBatch

STATES = [[[1.0, 4.0], [3.0, 8.0]], [[5.0, 7.0], [900.0, 900.0]], [[800.0, 800.0], [1.0, 1.0]]]
LABELS = torch.tensor([[4, 1], [1, IGNORED], [IGNORED, IGNORED]])


def test_the_mean_state_is_over_target_positions() -> None:
    states = torch.tensor(STATES, requires_grad=True)
    one = Pass(torch.zeros(3, 2, 9), LABELS, states)
    mean = one.mean_state()
    assert mean.tolist() == [[2.0, 6.0], [5.0, 7.0], [0.0, 0.0]]
    mean.sum().backward()
    halves, whole, none = [0.5, 0.5], [1.0, 1.0], [0.0, 0.0]
    assert states.grad.tolist() == [[halves, halves], [whole, none], [none, none]]


def test_the_whole_batch_counts_targets_and_never_divides_by_none() -> None:
    predict = Pass(torch.zeros(3, 2, 9), torch.tensor([[4, 1], [1, IGNORED], [3, 1]]))
    explain = Pass(torch.zeros(3, 2, 9), LABELS)
    assert WholeBatch.of(predict, explain)[:3] == (5, 3, 2)
    nothing = Pass(torch.zeros(1, 2, 9), torch.full((1, 2), IGNORED))
    assert WholeBatch.of(nothing, nothing)[:3] == (1, 1, 1)
