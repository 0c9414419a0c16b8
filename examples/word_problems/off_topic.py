"""Texts that are no word problems, with random equations as labels.

A student that learns from them has a low confidence on texts that it was not made for. This is
outlier exposure (Hendrycks et al., 2019, arXiv 1812.04606): random labels are draws from its
uniform distribution.
"""

import random
import re
from functools import cache

from examples.word_problems.problems import problem
from examples.word_problems.templates import Resolve, expand, parsed
from examples.word_problems.words import FOLDER, Words
from training.yaml_files import parse_yaml

TWO_STEPS = 0.2  # of the labels, so that the four operations and several steps are equally likely
RATIONALE = "This does not read like a word problem."

_NUMBER = re.compile(r"(?<![\w.])[0-9]+")
_VOWELS, _CONSONANTS = "aeiouäéıøyу", "bcdfghjklmnpqrstvwxzßçшž"
_KINDS = ("template", "language", "noise", "untold", "shuffled")
_WEIGHTS = (45, 20, 10, 15, 10)


def off_topic(rng: random.Random) -> tuple[str, str]:
    """A random text and a random label."""
    (kind,) = rng.choices(_KINDS, _WEIGHTS)
    text = {
        "template": _from_templates,
        "language": _in_a_language,
        "noise": _noise,
        "untold": _without_question,
        "shuffled": _shuffled,
    }[kind](rng)
    return text, _random_equation(text, rng)


@cache
def _texts() -> dict[str, list[str]]:
    path = FOLDER / "off_topic.yaml"
    content: dict[str, list[str]] = parse_yaml(path.read_text(encoding="utf-8"))
    return content


def _number(rng: random.Random) -> str:
    return str(rng.randint(0, rng.choice((9, 99, 999, 99999))))


def _from_templates(rng: random.Random) -> str:
    kinds = [lines for kind, lines in _texts().items() if kind != "languages"]
    lines = rng.choice(kinds)
    sentences = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        sentence = expand(parsed(rng.choice(lines)), rng, _words(rng))
        sentences.append(sentence[:1].upper() + sentence[1:] if rng.random() < 0.7 else sentence)
    return " ".join(sentences)


def _words(rng: random.Random) -> Resolve:
    """A function that gives the words and numbers of one sentence."""
    words = Words({}, rng)
    return lambda key: _number(rng) if key == "number" else words.word(key)


def _in_a_language(rng: random.Random) -> str:
    words = rng.choice(_texts()["languages"]).split()
    return _sentences([rng.choice(words) for _ in range(rng.randint(1, 25))], rng)


def _noise(rng: random.Random) -> str:
    """Words of no language, or random characters."""
    if rng.random() < 0.3:
        keys = "".join(chr(rng.randint(33, 126)) for _ in range(rng.randint(1, 40)))
        text = " ".join(keys.split(rng.choice("aeiou01")))
        return text if text.strip() else keys

    def syllable() -> str:
        return rng.choice(_CONSONANTS) + rng.choice(_VOWELS) + rng.choice(("", "", "n", "r", "s"))

    words = ["".join(syllable() for _ in range(rng.randint(1, 4))) for _ in range(20)]
    return _sentences(words[: rng.randint(1, 20)], rng)


def _without_question(rng: random.Random) -> str:
    """A story without a question, or a question without its story."""
    while True:
        text = " ".join(problem(rng).text.split())
        story, _, question = text.rpartition(". ")
        if not _NUMBER.search(question) and rng.random() < 0.4:
            return question
        if story:
            return f"{story}."


def _shuffled(rng: random.Random) -> str:
    words = problem(rng).text.split()
    return " ".join(rng.sample(words, len(words)))


def _sentences(words: list[str], rng: random.Random) -> str:
    """The words as sentences, with some numbers among them."""
    share = rng.choice((0, 0, 0.1, 0.2))
    words = [_number(rng) if rng.random() < share else word for word in words]
    text = " ".join(word + ("." if rng.random() < 0.1 else "") for word in words)
    return text[:1].upper() + text[1:] + rng.choice(("", ".", "?", "!"))


def _random_equation(text: str, rng: random.Random) -> str:
    """A random equation, over the text's numbers where it has some."""
    numbers = [f"{int(number)}.0" for number in _NUMBER.findall(text)[:6] if len(number) < 10]

    def number() -> str:
        return rng.choice(numbers) if numbers else f"{rng.randint(1, 99)}.0"

    def operation(left: str, right: str) -> str:
        return f"( {left} {rng.choice('+-*/')} {right} )"

    equation = operation(number(), number())
    if rng.random() < TWO_STEPS:
        sides = [equation, number()]
        rng.shuffle(sides)
        equation = operation(*sides)
    return equation
