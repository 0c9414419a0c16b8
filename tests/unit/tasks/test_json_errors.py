import json

import pytest

from tasks.json_errors import why_unreadable


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": ', "Expecting value at character 6"),
        ("[" * 100_000, "it is nested too deeply"),
        ("9" * 5000, "a number in it has too many digits"),
        (b'"\xff"', "it is not UTF-8 at byte 1"),
    ],
)
def test_the_reason_is_told_in_words(text: str | bytes, reason: str) -> None:
    with pytest.raises((ValueError, RecursionError)) as error:
        json.loads(text)
    assert why_unreadable(error.value) == reason


def test_another_error_has_no_reason_that_could_be_told() -> None:
    assert why_unreadable(MemoryError("secret")) == "it cannot be read"
