import numpy as np
import pytest

from service.engine.slots import Slots, TensorSpec

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
    return Slots(SPECS, capacity=4, start_id=7)


def add(slots: Slots, length: int, mark: float) -> None:
    slots.add({"cross_key.0": np.full((1, 2, length, 4), mark, np.float32)})


def step(slots: Slots, *next_ids: int) -> None:
    """Opens and closes a step, and writes each row's mark to its cache, as a decoder would."""
    slots.open_step()
    for row in range(slots.count):
        entry = slots.arrays["write_index"][row]
        slots.arrays["key.0"][row, :, entry] = slots.arrays["cross_key.0"][row, 0, 0, 0]
    slots.close_step(np.array(next_ids))


def test_a_new_row_knows_its_input_and_nothing_else(slots: Slots) -> None:
    add(slots, 40, 1.0)
    slots.open_step()
    assert slots.count == 1
    assert slots.arrays["input_ids"][0] == [7]
    assert slots.arrays["cross_mask"][0].tolist() == [1] * 40 + [0] * 24
    assert slots.arrays["visible"][0, 0].tolist() == [True] + [False] * 31
    assert slots.arrays["cache_positions"][0].tolist() == list(range(32))


def test_each_row_advances_by_itself(slots: Slots) -> None:
    add(slots, 3, 1.0)
    step(slots, 11)
    add(slots, 3, 2.0)
    step(slots, 12, 21)
    slots.open_step()
    assert slots.arrays["input_ids"][:2].tolist() == [[12], [21]]
    assert slots.arrays["positions"][:2].tolist() == [[2], [1]]
    assert slots.arrays["write_index"][:2].tolist() == [2, 1]
    assert slots.arrays["visible"][:2, 0, :4].tolist() == [
        [True, True, True, False],
        [True, True, False, False],
    ]


def test_the_last_row_takes_the_place_of_one_that_leaves(slots: Slots) -> None:
    for mark in (1.0, 2.0, 3.0):
        add(slots, int(mark), mark)
    step(slots, 10, 20, 30)
    slots.remove(0)
    assert slots.count == 2
    slots.open_step()
    assert slots.arrays["cross_key.0"][:2, 0, 0, 0].tolist() == [3.0, 2.0]
    assert slots.arrays["cross_mask"][:2].sum(axis=1).tolist() == [3, 2]
    assert slots.arrays["key.0"][:2, 1, 0, 3].tolist() == [3.0, 2.0]
    assert slots.arrays["input_ids"][:2].tolist() == [[30], [20]]
    assert slots.arrays["write_index"][:2].tolist() == [1, 1]


def test_a_row_taken_into_use_again_sees_nothing_of_before(slots: Slots) -> None:
    add(slots, 9, 1.0)
    step(slots, 1)
    step(slots, 2)
    slots.remove(0)
    add(slots, 2, 5.0)
    slots.open_step()
    assert slots.arrays["visible"][0, 0].sum() == 1
    assert slots.arrays["cross_mask"][0].sum() == 2
    assert slots.arrays["write_index"][0] == 0


def test_widths_follow_the_rows_and_keep_their_contents(slots: Slots) -> None:
    add(slots, 2, 1.0)
    add(slots, 2, 2.0)
    for i in range(33):
        step(slots, i, i)
    assert slots.arrays["key.0"].shape == (4, 2, 64, 4)
    assert slots.arrays["cache_positions"][1].tolist() == list(range(64))
    assert (slots.arrays["key.0"][1, :, :33] == 2.0).all()
    assert not slots.arrays["key.0"][1, :, 33:].any()

    add(slots, 100, 3.0)
    assert slots.arrays["cross_key.0"].shape == (4, 2, 128, 4)
    assert slots.arrays["cross_key.0"][1, 0, :3, 0].tolist() == [2.0, 2.0, 0.0]

    slots.remove(0)
    slots.remove(1)  # the row of 33 entries moved there
    slots.open_step()
    assert slots.arrays["key.0"].shape == (4, 2, 32, 4)
    assert slots.arrays["cross_key.0"].shape == (4, 2, 128, 4)
    assert slots.arrays["cross_key.0"][0, 0, 99, 0] == 3.0


def test_layout_changes_exactly_when_the_block_does(slots: Slots) -> None:
    add(slots, 2, 1.0)
    slots.open_step()
    seen = slots.layout
    for i in range(31):
        slots.close_step(np.array([i]))
        slots.open_step()
        assert slots.layout == seen
    slots.close_step(np.array([1]))
    slots.open_step()  # the 33rd entry
    assert slots.layout != seen
    seen = slots.layout
    add(slots, 2, 2.0)
    assert slots.layout != seen
    seen = slots.layout
    slots.remove(1)
    assert slots.layout != seen
