import math

import pytest
import torch
from torch import Tensor

from training.student.mi_bound import FEWEST_ROWS, information_bound


def noise(rows: int, width: int, seed: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("width", [2, 16, 128, 300])
def test_independent_states_tell_nothing(width: int) -> None:
    bounds = [
        information_bound(noise(200, width, seed), noise(200, width, seed + 50))
        for seed in range(4)
    ]
    assert all(-0.05 < bound < 0.05 for bound in bounds)


def test_identical_distinct_states_reach_the_cap() -> None:
    states = torch.eye(40)
    bound = information_bound(states, states)
    assert math.log(20) - 0.01 < bound < math.log(20)


def test_a_linear_map_of_the_states_is_found() -> None:
    states = noise(400, 8, seed=0)
    assert information_bound(states, states @ noise(8, 8, seed=1)) > 0.9 * math.log(200)


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_of_correlated_gaussians_most_is_found_and_never_more_than_there_is(
    correlation: float,
) -> None:
    z = noise(800, 2, seed=0)
    v = correlation * z + math.sqrt(1 - correlation**2) * noise(800, 2, seed=1)
    information = -math.log(1 - correlation**2)  # of two independent pairs, in nats
    assert 0.6 * information < information_bound(z, v) < 1.05 * information


def test_three_classes_are_worth_the_log_of_three() -> None:
    classes = torch.randint(3, (400,), generator=torch.Generator().manual_seed(0))
    z = torch.eye(8)[classes] + 0.02 * noise(400, 8, seed=1)
    v = torch.eye(8)[classes + 4] + 0.02 * noise(400, 8, seed=2)
    assert 0.8 * math.log(3) < information_bound(z, v) < 1.05 * math.log(3)


def test_few_rows_in_an_order_of_their_own_do_not_mislead() -> None:
    """Every second row is of another kind, so halves by turns would know nothing of each other."""
    kind = torch.arange(40) % 2
    states = noise(40, 64, seed=0) + 5 * torch.eye(64)[kind]
    assert information_bound(states, states) > 0.9 * math.log(20)
    assert information_bound(states, noise(40, 64, seed=1)) > -1


def test_what_cannot_be_judged_has_no_bound() -> None:
    few = noise(FEWEST_ROWS - 1, 4, seed=0)
    assert information_bound(few, few) is None
    broken = noise(20, 4, seed=0)
    broken[3, 1] = math.nan
    assert information_bound(broken, broken) is None


def test_constant_states_tell_nothing() -> None:
    states = torch.ones(20, 4)
    assert information_bound(states, states) == pytest.approx(0, abs=1e-9)
