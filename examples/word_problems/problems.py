"""Makes one problem: the text of a scene, one of its questions, the label and the reason."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simpleeval import NameNotDefined

from examples.word_problems.equations import Numbers, Teacher, equation, label, letters, solved
from examples.word_problems.noise import noised
from examples.word_problems.scenes import Question, Scene, all_scenes, asides, condition
from examples.word_problems.templates import Template, expand, parsed
from examples.word_problems.words import Unmentioned, Words

# Shares of problems:
DISTRACTED = 0.3  # with an extra sentence that has a number
OPENED = 0.15  # with extra words before the first sentence
TALKED = 0.1  # with an extra sentence without a number
SPACED = 0.15  # with spaces before punctuation, as in tokenised data

_NUMBER = re.compile(r"\$?([a-dz])")
_SENTENCE_END = re.compile(r"\.\s+|\.?\s*\Z")
_STARTS = re.compile(r"(?:\A|[.?!] |\n)[a-z]")
_DAYS = re.compile(r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b")
_ADVERBS = ("now ", "then ", "later ", "after that ", "thereafter ", "if ")


@dataclass(frozen=True)
class Problem:
    text: str
    label: str
    rationale: str
    scene: Scene


def problem(
    rng: random.Random, *, noisy: bool = False, scenes: Sequence[Scene] | None = None
) -> Problem:
    """A random problem from `scenes`, or from all scenes.

    A noisy one has made-up words, and lacks others.
    """
    scenes = scenes or all_scenes()
    while True:
        scene = rng.choice(scenes)
        try:
            made = _Telling(scene, rng.choice(scene.ask), rng, noisy).problem()
        except Unmentioned:
            continue
        if made is not None:
            return replace(made, text=noised(made.text, made.rationale, rng)) if noisy else made


class _Telling:
    """Makes a problem from a scene and one of its questions.

    The texts are written with marks in place of numbers. The numbers are drawn last, because only
    then it is known which numbers the texts have.
    """

    def __init__(
        self, scene: Scene, question: Question, rng: random.Random, noisy: bool = False
    ) -> None:
        self.scene = scene
        self.question = question
        self.rng = rng
        self.words = Words(scene.nouns, rng, noisy=noisy)
        self.used: set[str] = set()  # letters of numbers
        self.money = rng.choice(("$ %s", "$%s", "%s dollars", "%s dollars"))

    def problem(self) -> Problem | None:
        """The problem. None where the text lacks a number of the equation, or none fit."""
        rng = self.rng
        facts = " ".join(self._text(parsed(fact)) for fact in self.scene.facts)
        sentences = [sentence for sentence in _SENTENCE_END.split(facts) if sentence]
        self.words.closed = True
        asked = self._text(parsed(self.question.q))
        tree = equation(expand(parsed(self.question.eq), rng, str))
        if not letters(tree) <= self.used:
            return None
        self._say_more(sentences)
        numbers = solved(tree, frozenset(self.used), self._holds, rng)
        if numbers is None:
            return None
        teacher = Teacher(numbers)

        def reason(key: str) -> str:
            if key.startswith("="):
                part = {"eq": tree, "@1": getattr(tree, "left", tree)}.get(key[1:])
                return teacher.state(part if part is not None else equation(key[1:]))
            return self._word(key)

        self.words.closed = True
        rationale = expand(parsed(self.question.why), rng, reason)
        text = _laid_out(sentences, asked, rng)
        text, rationale = (_sentences(_filled(part, numbers)) for part in (text, rationale))
        if rng.random() < 0.5:
            text, rationale = (_DAYS.sub(_capitalised, part) for part in (text, rationale))
        if rng.random() < SPACED:
            text = re.sub(r"(?<=\S)([.,?]|'s\b)(?=\s|\Z)", r" \1", text)
        return Problem(text, label(tree, numbers), rationale, self.scene)

    def _text(self, template: Template) -> str:
        return expand(template, self.rng, self._word)

    def _word(self, key: str) -> str:
        if number := _NUMBER.fullmatch(key):
            self.used.add(number[1])
            mark = f"\x00{number[1]}"
            return self.money % mark if key[0] == "$" else mark
        return self.words.word(key)

    def _say_more(self, sentences: list[str]) -> None:
        rng, self.words.closed = self.rng, False

        def aside(kind: str) -> str:
            return self._text(parsed(rng.choice(asides()[kind])))

        if rng.random() < DISTRACTED:
            kind = "person" if "A" in self.words and rng.random() < 0.7 else "anyone"
            sentences.insert(rng.randint(kind == "person", len(sentences)), aside(kind))
        if rng.random() < OPENED:
            sentences[0] = f"{aside('openers')} {sentences[0]}"
        if rng.random() < TALKED:
            sentences.insert(rng.randint(0, len(sentences)), aside("sayings"))

    def _holds(self, numbers: Numbers) -> bool:
        try:
            return condition(self.scene.needs)(numbers) and condition(self.question.needs)(numbers)
        except NameNotDefined:  # the text leaves out a number of the condition
            return True


def _laid_out(sentences: list[str], question: str, rng: random.Random) -> str:
    """The sentences and the question as one text, in a layout of school books."""
    *before, last = sentences
    way = rng.random()
    if last.startswith(_ADVERBS) or last.startswith("after "):
        way *= 0.5
    start = "".join(f"{sentence}. " for sentence in before)
    if way < 0.25:
        return f"{start}{last}. {question}"
    if way < 0.5:
        return f"{start}{last}.\n{_capital(question)}"
    if way < 0.6:
        return f"{start}if {last}\n{_capital(question)}"
    if way < 0.75:
        return f"{start}if {last}, {question}"
    if way < 0.82:
        return f"{start}if {last}.\n{_capital(question)}"
    if way < 0.9:
        return f"{start}{question[:-1]} if {last}?"
    if len(sentences) > 1:
        joint = rng.choice((" and ", ", and ", ". "))
        return f"{joint.join(sentences)}. {question}"
    return f"{last}. {question}"


def _capitalised(found: re.Match[str]) -> str:
    return found[0].capitalize()


def _sentences(text: str) -> str:
    """The text with one space between words, and a capital at the start of each sentence."""
    text = re.sub(r" +", " ", text).replace(" .", ".").replace(" ,", ",").replace(" ?", "?")
    return _STARTS.sub(lambda start: start[0].upper(), text.strip())


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _filled(text: str, numbers: Numbers) -> str:
    return re.sub("\x00([a-z])", lambda mark: str(numbers[mark[1]]), text)
