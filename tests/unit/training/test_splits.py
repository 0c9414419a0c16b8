import pytest

from training.data import DataError, Example
from training.splits import Splits, hold_out


def test_validation_rows_come_from_the_training_rows_by_seed() -> None:
    examples = [Example({"text": str(i)}, str(i), None) for i in range(50)]
    train, validation = hold_out(examples, 10, seed=3)
    assert (len(train), len(validation)) == (40, 10)
    assert sorted(train + validation, key=lambda e: int(e.label)) == examples
    assert hold_out(examples, 10, seed=3) == (train, validation)
    assert hold_out(examples, 10, seed=4) != (train, validation)
    with pytest.raises(DataError, match="50 usable training rows"):
        hold_out(examples, 50, seed=3)


def test_the_fingerprint_follows_what_is_learned_from() -> None:
    a, b = Example({"text": "a"}, "1", None), Example({"text": "b"}, "2", "why")
    fingerprint = Splits([a], [b], [], []).fingerprint()
    assert Splits([a], [b], [a, b], []).fingerprint() == fingerprint
    assert Splits([b], [a], [], []).fingerprint() != fingerprint
