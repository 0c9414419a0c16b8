"""Swaps: a word problem told again of other people and other things."""

import random
import re
from dataclasses import replace
from functools import cache

from training.data import Example
from training.word_problems.renumbering import renumbered
from training.word_problems.words import Noun, vocabulary

SWAPPED_NOUNS = 0.5  # of the copies; in the others only names are swapped


def with_swaps(
    examples: list[Example], copies: int, seed: int, *, renumber: bool = False
) -> list[Example]:
    """Each example, and after it so many copies with other names, or other names and nouns.

    Names stay a woman's or a man's, nouns in their category; verbs stay. With `renumber` a copy has
    other numbers, too, where that can be; else numbers and the label stay. An example without
    anything to change is not copied.
    """
    rng = random.Random(seed)
    rows = []
    for example in examples:
        rows.append(example)
        for _ in range(copies):
            copy = (renumbered(example, rng) if renumber else None) or example
            copy = _swapped(copy, rng) or copy
            if copy is not example:
                rows.append(copy)
    return rows


def _swapped(example: Example, rng: random.Random) -> Example | None:
    texts = [text for text in example.input.values() if isinstance(text, str)]
    others = _other_words(" ".join(texts), rng)
    if not others:
        return None
    pattern = _any_of(others)

    def swap(text: str) -> str:
        return pattern.sub(lambda found: others[found[0]], text)

    return replace(
        example,
        input={
            name: swap(text) if isinstance(text, str) else text
            for name, text in example.input.items()
        },
        rationale=None if example.rationale is None else swap(example.rationale),
    )


def _other_words(text: str, rng: random.Random) -> dict[str, str]:
    """Another word for each name and noun of a text, for nouns in both numbers."""
    names, nouns, pattern = _known_words()
    found = set(pattern.findall(text))
    others: dict[str, str] = {}
    for name in sorted(found & names.keys()):
        people = vocabulary()[names[name]]
        while (other := rng.choice(people)) in found or other in others.values():
            pass
        others[name] = other
    if rng.random() < SWAPPED_NOUNS:
        taken = {nouns[word] for word in found & nouns.keys()}
        for noun in sorted(taken, key=lambda noun: noun.many):
            kind = vocabulary()["nouns"][noun.category]
            if len(taken) >= len(kind):
                continue
            while (different := rng.choice(kind)) in taken:
                pass
            taken.add(different)
            others |= {noun.many: different.many, noun.one: different.one}
    return others


@cache
def _known_words() -> tuple[dict[str, str], dict[str, Noun], re.Pattern[str]]:
    words = vocabulary()
    names = {name: people for people in ("women", "men") for name in words[people]}
    nouns = {
        form: noun
        for kind in words["nouns"].values()
        for noun in kind
        for form in (noun.many, noun.one)
    }
    return names, nouns, _any_of({**names, **nouns})


def _any_of(words: dict[str, object] | dict[str, str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, longest_first))})\b")
