"""Draws the words of one problem. Each is drawn once, and stays the same in the whole problem."""

import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from examples.word_problems.templates import expand, parsed
from training.yaml_files import parse_yaml

FOLDER = Path(__file__).parent
PERSON = re.compile(r"([A-Z])(?:\.(he|his|him|s))?")
_PRONOUNS = {"he": "A.he", "his": "A.his", "him": "A.him"}
# Shares of the nouns and names of a noisy problem:
MADE_UP = 0.25  # made-up words
DESCRIBED = 0.25  # of the nouns, with an adjective
_ONSETS = "b bl br c d dr f g gl h k l m n p pr r s st t v w".split()  # noqa: SIM905
_VOWELS, _CODAS = "aeiou", "lmnrst"
_KEY = re.compile(r"([a-z]+)[0-9]?(?:\.([a-z]+))?")


@dataclass(frozen=True)
class Noun:
    many: str
    one: str
    category: str = ""


@cache
def vocabulary() -> dict[str, Any]:
    """The content of words.yaml: names, nouns by category, and lists of words."""
    content = parse_yaml((FOLDER / "words.yaml").read_text(encoding="utf-8"))
    words: dict[str, Any] = {
        "women": content.pop("women").split(),
        "men": content.pop("men").split(),
    }
    words["nouns"] = {
        category: [noun for line in lines for noun in _nouns(line, category)]
        for category, lines in content.pop("nouns").items()
    }
    for name, value in content.items():
        words[name] = _nouns(value) if isinstance(value, str) else value
    return words


def _nouns(line: str, category: str = "") -> list[Noun]:
    found = []
    for text in line.split(",") if "," in line else line.split():
        many, _, one = text.strip().partition("/")
        found.append(Noun(many, one or many.removesuffix("s"), category))
    return found


def made_up_word(rng: random.Random) -> str:
    """A word that sounds like English: `brimo`, `stelcun`."""
    syllables = [
        rng.choice(_ONSETS)
        + rng.choice(_VOWELS)
        + (rng.choice(_CODAS) if rng.random() < 0.4 else "")
        for _ in range(rng.choice((1, 2, 2, 3)))
    ]
    return "".join(syllables)


class Unmentioned(Exception):
    """A question or a reason has a word that the problem's text does not have."""


class Words:
    """The words of one problem, drawn at their first use.

    `nouns` gives the categories of its nouns, by letter; "same" is the category of the first noun.
    With `noisy` some words are made up. After `closed` is set, a word that was not used before
    raises Unmentioned.
    """

    def __init__(
        self, nouns: dict[str, list[str] | str], rng: random.Random, *, noisy: bool = False
    ) -> None:
        self.rng = rng
        self.noisy = noisy
        self.closed = False
        self._nouns = nouns
        self._drawn: dict[str, Any] = {}

    def __contains__(self, base: str) -> bool:
        return base in self._drawn

    def word(self, key: str) -> str:
        """The text of a key: `A`, `A.his`, `n`, `n.one`, `places`, `losses.past`, …"""
        if person := PERSON.fullmatch(_PRONOUNS.get(key, key)):
            return self._person(person[1], person[2])
        found = _KEY.fullmatch(key)
        if found is None:
            raise ValueError(f"no such reference: {{{key}}}")
        base, attribute = key.partition(".")[0], found[2]
        if len(found[1]) == 1:
            noun = self._once(base, self._draw_noun)
            return noun.one if attribute == "one" else noun.many
        entry = self._once(base, self._draw)
        if isinstance(entry, Noun):
            return entry.one if attribute == "one" else entry.many
        text = entry if isinstance(entry, str) else entry[attribute]
        return expand(parsed(text), self.rng, self.word)

    def _once(self, base: str, draw: Any) -> Any:
        if base not in self._drawn:
            if self.closed:
                raise Unmentioned(base)
            self._drawn[base] = draw(base)
        return self._drawn[base]

    def _person(self, letter: str, form: str | None) -> str:
        name, woman = self._once(letter, self._draw_person)
        match form:
            case None:
                return name
            case "s":
                return f"{name}'s"
        return {"he": "she", "his": "her", "him": "her"}[form] if woman else form

    def _draw_person(self, _: str) -> tuple[str, bool]:
        taken = {drawn[0] for drawn in self._drawn.values() if isinstance(drawn, tuple)}
        woman = self.rng.random() < 0.5
        if self._noise(MADE_UP):
            return made_up_word(self.rng).capitalize(), woman
        while (name := self.rng.choice(vocabulary()["women" if woman else "men"])) in taken:
            pass
        return name, woman

    def _draw_noun(self, letter: str) -> Noun:
        all_nouns = vocabulary()["nouns"]
        categories = self._nouns.get(letter, ["food", "small", "clothes", "things"])
        if categories == "same":
            categories = [self._once("n", self._draw_noun).category]
        taken = [noun for noun in self._drawn.values() if isinstance(noun, Noun)]
        while (noun := self.rng.choice(all_nouns[self.rng.choice(categories)])) in taken:
            pass
        if self._noise(MADE_UP):
            word = made_up_word(self.rng)
            noun = Noun(f"{word}s", word, noun.category)
        if self._noise(DESCRIBED):
            adjective = self.rng.choice(vocabulary()["adjectives"]).many
            noun = Noun(f"{adjective} {noun.many}", f"{adjective} {noun.one}", noun.category)
        return noun

    def _noise(self, share: float) -> bool:
        return self.noisy and self.rng.random() < share

    def _draw(self, base: str) -> Any:
        """A random entry of a list. A verb fits the first noun."""
        name = base.rstrip("0123456789")
        if name not in vocabulary():
            raise ValueError(f"no such reference: {{{base}}}")
        entries = vocabulary()[name]
        if isinstance(entries[0], dict):
            category = self._once("n", self._draw_noun).category
            entries = [entry for entry in entries if category in entry.get("of", [category])]
        taken = [value for key, value in self._drawn.items() if key.rstrip("0123456789") == name]
        while (entry := self.rng.choice(entries)) in taken:
            pass
        return entry
