from itertools import chain, islice

import pytest

from training.data.batch_sampler import ShuffledBatchSampler
from training.yaml_files import ConfigError

SIZES = [5 + 7 * i % 11 for i in range(30)]


def steps(plan: ShuffledBatchSampler) -> list[list[list[int]]]:
    """By step, the accumulated batches of one process."""
    batches = iter(plan)
    return [list(islice(batches, plan.accumulation)) for _ in range(plan.steps)]


def test_an_epoch_has_each_row_once_and_the_next_another_order() -> None:
    plan = ShuffledBatchSampler(SIZES, steps=12, batch_size=5)
    batches = list(plan)
    assert len(batches) == len(plan) == 12
    assert plan.steps_per_epoch == 6
    first, second = batches[:6], batches[6:]
    for epoch in (first, second):
        assert sorted(chain.from_iterable(epoch)) == list(range(30))
    assert first != second
    assert list(ShuffledBatchSampler(SIZES, steps=12, batch_size=5)) == batches
    assert list(ShuffledBatchSampler(SIZES, steps=12, batch_size=5, seed=1)) != batches


def test_what_is_left_of_an_epoch_waits_for_the_next_shuffle() -> None:
    batches = list(ShuffledBatchSampler(SIZES, steps=8, batch_size=8))
    assert {len(batch) for batch in batches} == {8}
    assert len(set(chain.from_iterable(batches[:3]))) == 24
    assert len(set(chain.from_iterable(batches))) == 30


@pytest.mark.parametrize("budget", [{"batch_size": 8}, {"batch_size": 1, "batch_tokens": 88}])
def test_processes_and_accumulated_batches_share_a_step_equally(budget: dict[str, int]) -> None:
    shares = [
        ShuffledBatchSampler(SIZES, steps=5, accumulation=2, processes=2, process=process, **budget)
        for process in (0, 1)
    ]
    whole = list(ShuffledBatchSampler(SIZES, steps=5, accumulation=1, **budget))
    for first, second, rows in zip(*map(steps, shares), whole, strict=True):
        parts = [first[0], second[0], first[1], second[1]]
        assert len(set(map(len, parts))) == 1
        if "batch_tokens" not in budget:  # else fewer rows, so that the parts are equal
            assert list(chain.from_iterable(parts)) == rows


def test_a_budget_of_tokens_is_used_and_kept() -> None:
    batches = list(ShuffledBatchSampler(SIZES, steps=9, batch_size=1, batch_tokens=60))
    tokens = [sum(SIZES[row] for row in batch) for batch in batches]
    assert max(tokens) <= 60
    assert min(tokens) > 60 - max(SIZES)
    assert len(set(map(len, batches))) > 1


def test_fewer_rows_than_a_batch_are_one() -> None:
    assert (
        list(map(sorted, ShuffledBatchSampler(SIZES[:5], steps=2, batch_size=64)))
        == [[0, 1, 2, 3, 4]] * 2
    )
    assert [
        len(batch)
        for batch in ShuffledBatchSampler(SIZES, steps=2, batch_size=1, batch_tokens=10**6)
    ] == [
        30,
        30,
    ]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"batch_size": 6}, "batch_size: 6 rows cannot be dealt out among 2 processes × 2"),
        ({"batch_size": 40, "accumulation": 20}, "data: 30 training rows are too few"),
        ({"batch_size": 1, "batch_tokens": 40}, "batch_tokens: 40 may not hold a row of 15 tokens"),
    ],
)
def test_parts_are_never_unequal_or_empty(wrong: dict[str, int], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        ShuffledBatchSampler(SIZES, steps=1, processes=2, **({"accumulation": 2} | wrong))
