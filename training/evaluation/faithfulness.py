"""Faithfulness: what the words of a rationale show about it, without a reference.

All measures are parsed from text. A measure is None where a rationale has nothing to measure: one
without a conclusion neither agrees with a label nor disagrees.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.task import Task
from training.evaluation.arithmetic import (
    Expression,
    number_words_in,
    numbers_in,
    read_arithmetic,
)
from training.evaluation.health import is_bare_label
from training.evaluation.record import Record
from training.evaluation.words import content_stems, names_in, sentences_in, stem, words_in

REPEATED = 4  # words of an n-gram, in `repetition`

_ANSWER = re.compile(r"\banswer(?:\s+is|\s*:)\s*:?", re.IGNORECASE)
_LETTER = re.compile(r"\s*\(([a-z])\)")
_CONCLUDES = re.compile(r"\b(?:so|thus|therefore|hence)\b", re.IGNORECASE)
_SINGLES_OUT = re.compile(r"\b(?:only|closest|best)\b", re.IGNORECASE)
_NEGATIONS = frozenset({"not", "no", "never", "nor", "neither", "without", "cannot"})


@dataclass(frozen=True)
class Faithfulness:
    """The measures of one rationale. Shares are from 0 to 1."""

    conclusion: str | None  # the label or expression that it ends in
    agrees: bool | None  # whether its conclusion is the predicted label
    concludes_gold: bool | None  # whether its conclusion is the gold label
    statements: int  # arithmetic ones, `a op b = c`
    true_statements: int
    input_numbers_used: float | None  # share of the input's different numbers
    numbers_grounded: float | None  # share of its numbers from the input or calculated before
    input_words_used: float | None  # share of the input's different content words, by stem
    input_names_used: float | None  # share of the input's different capitalised words
    names_grounded: float | None  # share of its different capitalised words
    words: int
    repetition: float | None  # seq-rep-4 (Welleck et al., 2020): 1 - different / all 4-grams
    distinct_1: float | None  # different / all words, and pairs of words (Li et al., 2016)
    distinct_2: float | None

    @property
    def sound(self) -> bool | None:
        """Whether it reasons to the gold label without a false sum; None without a conclusion."""
        if self.true_statements < self.statements:
            return False
        return self.concludes_gold


def faithfulness(record: Record, task: Task) -> Faithfulness | None:
    """Measures a record's rationale; None where the model wrote none.

    A rationale that is only a label (`is_bare_label`) has no conclusion. In arithmetic, the
    conclusion is the last expression, by its exact value. So a wrong sum at the end is a false
    statement, but not a disagreement too. With labels, the last sentence that names any decides:
    the conclusion is the label that it does not negate.
    """
    text = record.rationale
    if text is None:
        return None
    expressions, statements = read_arithmetic(text)
    labels = task.labels_of(record.input)
    if is_bare_label(record, task):
        conclusion = None
    elif task.answer == "arithmetic":
        conclusion = _concluded_value(text, expressions)
    elif labels is not None:
        conclusion = _concluded_label(text, labels, lettered=task.choices is not None)
    else:
        conclusion = _stated_answer(text)
    source = "\n".join(str(record.input[name]) for name in task.texts)
    words = [word.lower() for word in words_in(text)]
    names = names_in(source, at_starts=True)
    own_names = names_in(text, at_starts=True)
    stems = {stem(word) for word in words}
    return Faithfulness(
        conclusion=conclusion,
        agrees=_judged(task, conclusion, record.label),
        concludes_gold=_judged(task, conclusion, record.gold),
        statements=len(statements),
        true_statements=sum(statement.true for statement in statements),
        input_numbers_used=_numbers_used(source, text),
        numbers_grounded=_numbers_grounded(source, text, expressions),
        input_words_used=_share(content_stems(source), stems),
        input_names_used=_share(names, own_names),
        # the first word of a sentence is a name if the input has it as one; else it may be any word
        names_grounded=_share(names_in(text, at_starts=False) | (own_names & names), names),
        words=len(words),
        repetition=None if (share := _distinct(words, REPEATED)) is None else 1 - share,
        distinct_1=_distinct(words, 1),
        distinct_2=_distinct(words, 2),
    )


def _judged(task: Task, conclusion: str | None, label: str) -> bool | None:
    return None if conclusion is None else task.is_right(conclusion, label)


def _concluded_value(text: str, expressions: Sequence[Expression]) -> str | None:
    if (answer := _answer(text)) is not None:
        stated, _ = read_arithmetic(answer)
        if stated:
            return stated[0].text
        return _as_text(answer, first=True)
    if expressions:
        return expressions[-1].text
    concluding = [sentence for sentence in sentences_in(text) if _CONCLUDES.search(sentence)]
    return _as_text(concluding[-1], first=False) if concluding else None


def _as_text(sentence: str, *, first: bool) -> str | None:
    numbers = numbers_in(sentence)
    return f"{numbers[0 if first else -1].value:g}" if numbers else None


def _concluded_label(text: str, labels: list[str], *, lettered: bool) -> str | None:
    if (answer := _answer(text)) is not None:
        letter = _LETTER.match(answer) if lettered else None
        if letter is not None and (place := ord(letter[1]) - ord("a")) < len(labels):
            return labels[place]
        text = answer
    for sentence in reversed(sentences_in(text)):
        found = _SINGLES_OUT.search(sentence)
        for part in [sentence[found.end() :], sentence] if found else [sentence]:
            if named := _labels_named(part, labels):
                return named.pop() if len(named) == 1 else None
    return None


def _labels_named(text: str, labels: list[str]) -> set[str]:
    """The labels that the text names word for word, or else by the stems of their words."""
    return _stand_in(text, labels, str.lower) or _stand_in(text, labels, stem)


def _stand_in(text: str, labels: list[str], form: Callable[[str], str]) -> set[str]:
    """The labels whose words are in the text, outside of longer labels, and not negated."""
    words = words_in(text)
    forms = [form(word) for word in words]
    taken: set[int] = set()
    named = set()
    for label in sorted(labels, key=lambda label: len(words_in(label)), reverse=True):
        sought = [form(word) for word in words_in(label)]
        for start in range(len(forms) - len(sought) + 1) if sought else ():
            places = range(start, start + len(sought))
            if forms[start : places.stop] != sought or taken.intersection(places):
                continue
            taken.update(places)
            if not any(_negates(word) for word in words[max(0, start - 3) : start]):
                named.add(label)
    return named


def _negates(word: str) -> bool:
    return word.lower() in _NEGATIONS or word.lower().endswith(("n't", "n’t"))


def _stated_answer(text: str) -> str | None:
    answer = _answer(text)
    return None if answer is None else sentences_in(answer)[0].strip().rstrip(".")


def _answer(text: str) -> str | None:
    """The text after the last "answer is"."""
    found = list(_ANSWER.finditer(text))
    return text[found[-1].end() :].strip() or None if found else None


def _numbers_used(source: str, text: str) -> float | None:
    sought = {number.value for number in numbers_in(source)}
    found = {number.value for number in numbers_in(text)} | number_words_in(text)
    return _share(sought, found)


def _numbers_grounded(source: str, text: str, expressions: Sequence[Expression]) -> float | None:
    known = {number.value for number in numbers_in(source)} | number_words_in(source)
    numbers = numbers_in(text)
    if not numbers:
        return None
    grounded = 0
    for number in numbers:
        before = (one for one in expressions if one.end <= number.start)
        calculated = (value for one in before for value in one.values)
        grounded += number.value in known or any(map(number.states, calculated))
    return grounded / len(numbers)


def _share(wanted: set[Any], found: set[Any]) -> float | None:
    return len(wanted & found) / len(wanted) if wanted else None


def _distinct(words: Sequence[str], n: int) -> float | None:
    """The share of different n-grams among all n-grams."""
    grams = list(zip(*(words[start:] for start in range(n)), strict=False))
    return len(set(grams)) / len(grams) if grams else None
