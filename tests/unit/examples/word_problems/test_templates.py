import random

import pytest

from examples.word_problems.templates import expand, parsed, references


def texts_of(template: str) -> set[str]:
    rng = random.Random(0)
    return {expand(parsed(template), rng, lambda key: f"<{key}>") for _ in range(200)}


def test_a_template_becomes_each_of_its_texts() -> None:
    assert texts_of("{A} [has|had [just|]] {A|he}") == {
        f"<A> {verb} <{one}>" for verb in ("has", "had just", "had ") for one in ("A", "he")
    }


def test_references_are_those_of_any_text() -> None:
    assert references(parsed("{A} [has|{losses.past} [{n}|]] {$a|=a-b}")) == {
        "A", "losses.past", "n", "$a", "=a-b",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["[a", "a]", "a|b", "{a", "[a|[b]"])
def test_what_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"bracket|brace"):
        parsed(text)
