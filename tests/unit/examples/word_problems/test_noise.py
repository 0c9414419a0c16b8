import random
import re

import pytest

from examples.word_problems.noise import noised
from examples.word_problems.problems import Problem, problem
from examples.word_problems.words import made_up_word, vocabulary

TEXT = "Nora quickly baked 48 big rolls and then ate 6 of them.\nHow many rolls were there?"
RATIONALE = "Nora baked 48 rolls and ate 6."


@pytest.fixture(scope="module")
def made() -> list[Problem]:
    rng = random.Random(0)
    return [problem(rng, noisy=True) for _ in range(2000)]


def test_numbers_signs_and_what_the_reason_speaks_of_stay() -> None:
    texts = [noised(TEXT, RATIONALE, random.Random(seed)) for seed in range(500)]
    for text in texts:
        assert re.findall(r"[0-9]+|[.?\n]", text) == ["48", "6", ".", "\n", "?"]
        assert all(re.search(rf"\b{word}\b", text) for word in ("Nora", "baked", "rolls", "ate"))
    missing = sum(" quickly" not in text for text in texts)
    assert 20 < missing < 70  # of 500, a share of 0.08
    assert any("Nora baked" in text for text in texts)  # it was dropped
    assert any(re.search(r"Nora (?!quickly|baked)[a-z]+ baked", text) for text in texts)


def test_some_problems_keep_every_word() -> None:
    assert any(noised(TEXT, RATIONALE, random.Random(seed)) == TEXT for seed in range(100))


def test_noisy_problems_have_names_and_things_that_there_are_not(made: list[Problem]) -> None:
    names = {*vocabulary()["women"], *vocabulary()["men"]}
    reasons = [re.match(r"[A-Z][a-z]+(?= )", one.rationale) for one in made]
    firsts = [found[0] for found in reasons if found]
    unknown = [name for name in firsts if name not in names]
    assert 0.1 < len(unknown) / len(firsts) < 0.8


def test_the_same_seed_makes_the_same(made: list[Problem]) -> None:
    rng = random.Random(0)
    assert [problem(rng, noisy=True) for _ in range(20)] == made[:20]


def test_made_up_words_are_words() -> None:
    rng = random.Random(0)
    words = {made_up_word(rng) for _ in range(500)}
    assert len(words) > 300
    assert all(re.fullmatch(r"[a-z]{2,12}", word) for word in words)
