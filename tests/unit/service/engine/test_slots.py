import numpy as np
import pytest

from service.engine.slots import Array, Slots, TensorSpec

SPECS = [
    TensorSpec("input_ids", np.int64, ("T",)),
    TensorSpec("positions", np.int64, ("T",)),
    TensorSpec("write_index", np.int64, ()),
    TensorSpec("cache_positions", np.int64, ("M",)),
    TensorSpec("visible", np.bool_, ("T", "M")),
    TensorSpec("cross_key.0", np.float32, (2, "S", 4)),
    TensorSpec("cross_mask", np.int64, ("S",)),
    TensorSpec("key.0", np.float32, (2, "M", 4)),
]


@pytest.fixture
def slots() -> Slots:
    return Slots(SPECS, capacity=4)


def add(slots: Slots, length: int, mark: float) -> None:
    slots.add({"cross_key.0": np.full((1, 2, length, 4), mark, np.float32)})


def step(slots: Slots, tokens: int = 1) -> None:
    """Takes a step in which each row writes its mark to its cache, as a decoder would."""
    slots.open_step(slots.lengths[:, None] + np.arange(tokens))
    for row, length in enumerate(slots.lengths):
        mark = slots.arrays["cross_key.0"][row, 0, 0, 0]
        slots.arrays["key.0"][row, :, length : length + tokens] = mark
    slots.lengths[:] += tokens


def entries(slots: Slots, row: int) -> Array:
    return slots.arrays["key.0"][row, 1, : slots.lengths[row], 3]


def test_only_what_outlives_a_step_is_kept(slots: Slots) -> None:
    assert set(slots.arrays) == {
        "write_index",
        "cache_positions",
        "cross_key.0",
        "cross_mask",
        "key.0",
    }


def test_a_new_row_knows_its_input_and_nothing_else(slots: Slots) -> None:
    add(slots, 40, 1.0)
    assert slots.count == 1
    assert slots.lengths.tolist() == [0]
    assert slots.arrays["cross_mask"][0].tolist() == [1] * 40 + [0] * 24


def test_each_row_advances_by_itself(slots: Slots) -> None:
    add(slots, 3, 1.0)
    step(slots)
    add(slots, 3, 2.0)
    step(slots, 2)
    slots.lengths[1] -= 1  # of two entries, one is kept
    step(slots)
    assert slots.lengths.tolist() == [4, 2]
    assert entries(slots, 0).tolist() == [1.0] * 4
    assert entries(slots, 1).tolist() == [2.0] * 2


def test_new_entries_are_where_their_tokens_are(slots: Slots) -> None:
    add(slots, 3, 1.0)
    add(slots, 3, 1.0)
    step(slots)
    slots.open_step(np.array([[1, 1, 2], [1, 2, 3]]))
    assert slots.arrays["cache_positions"][:2, :4].tolist() == [[0, 1, 1, 2], [0, 1, 2, 3]]


def test_the_last_row_takes_the_place_of_one_that_leaves(slots: Slots) -> None:
    for mark in (1.0, 2.0, 3.0):
        add(slots, int(mark), mark)
    step(slots)
    slots.remove(0)
    assert slots.count == 2
    assert slots.arrays["cross_key.0"][:2, 0, 0, 0].tolist() == [3.0, 2.0]
    assert slots.arrays["cross_mask"][:2].sum(axis=1).tolist() == [3, 2]
    assert slots.arrays["key.0"][:2, 1, 0, 3].tolist() == [3.0, 2.0]
    assert slots.lengths.tolist() == [1, 1]


def test_a_row_taken_into_use_again_has_nothing_of_before(slots: Slots) -> None:
    add(slots, 9, 1.0)
    step(slots, 2)
    slots.remove(0)
    add(slots, 2, 5.0)
    assert slots.arrays["cross_mask"][0].sum() == 2
    assert slots.lengths.tolist() == [0]


def test_entries_can_be_kept_in_another_order(slots: Slots) -> None:
    add(slots, 2, 1.0)
    add(slots, 2, 1.0)
    slots.open_step(np.array([[0, 1, 1, 2], [0, 1, 2, 3]]))
    slots.arrays["key.0"][:2, :, :4] = np.arange(4)[:, None]
    slots.lengths[:] = 4
    slots.keep([[3, 0], None])
    assert slots.lengths.tolist() == [2, 4]
    assert entries(slots, 0).tolist() == [3.0, 0.0]
    assert slots.arrays["cache_positions"][0, :2].tolist() == [2, 0]
    assert entries(slots, 1).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_widths_follow_the_rows_and_keep_their_contents(slots: Slots) -> None:
    add(slots, 2, 1.0)
    add(slots, 2, 2.0)
    for _ in range(65):
        step(slots)
    assert slots.width == 96
    assert slots.arrays["key.0"].shape == (4, 2, 96, 4)
    assert slots.arrays["cache_positions"][1, :65].tolist() == list(range(65))
    assert (slots.arrays["key.0"][1, :, :65] == 2.0).all()
    assert not slots.arrays["key.0"][1, :, 65:].any()

    add(slots, 100, 3.0)
    assert slots.arrays["cross_key.0"].shape == (4, 2, 128, 4)
    assert slots.arrays["cross_key.0"][1, 0, :3, 0].tolist() == [2.0, 2.0, 0.0]

    slots.remove(0)
    slots.remove(1)  # the row of 65 entries moved there
    step(slots)
    assert slots.arrays["key.0"].shape == (4, 2, 32, 4)
    assert slots.arrays["cross_key.0"].shape == (4, 2, 128, 4)
    assert slots.arrays["cross_key.0"][0, 0, 99, 0] == 3.0


def test_a_step_of_many_tokens_has_room(slots: Slots) -> None:
    add(slots, 2, 1.0)
    step(slots, 30)
    slots.open_step(np.arange(30, 33)[None])
    assert slots.width == 64


def test_layout_changes_exactly_when_the_block_does(slots: Slots) -> None:
    add(slots, 2, 1.0)
    step(slots)
    seen = slots.layout
    for _ in range(31):
        step(slots)
        assert slots.layout == seen
    step(slots)  # the 33rd entry
    assert slots.layout != seen
    seen = slots.layout
    add(slots, 2, 2.0)
    assert slots.layout != seen
    seen = slots.layout
    slots.remove(1)
    assert slots.layout != seen
