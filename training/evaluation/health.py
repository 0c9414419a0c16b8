"""Rationale health: whether a rationale is a reason at all, be it good or bad.

A student can have every label right and write no reasons: its rationales are its labels, or contain
pieces of them. Accuracy does not show that. Nor does the agreement of label and rationale.
Health is found by rules on the texts. So it costs little, and can be measured during training.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from spellchecker import SpellChecker

from tasks.equations import evaluate_equation
from tasks.task import Task
from training.evaluation.record import Record
from training.evaluation.words import FUNCTION_WORDS, sentences_in, words_in
from training.student.files import FAULTS

SHORTEST_END = 4  # letters of a label's end that is glued to a sentence mark
GRAM = 3  # letters of a label's middle that is glued to a word
LONGEST_SUFFIX = 2  # letters that a form of a label may have more
LOOP = 3  # times in a row that words must be repeated to be a loop
LONGEST_LOOP = 8  # words of a loop

_ENDS = re.compile(r"[.!?…。！？।؟][\"'”’»)\]]*$")
_EDGES = "".join(map(chr, range(33, 48))) + ":;<=>?@[\\]^_`{|}~“”‘’«»…"
_SENTENCE_MARKS = ".,:;!?"  # a word after them begins with a space


@dataclass(frozen=True)
class Health:
    """The faults of one rationale."""

    bare_label: bool  # it says no more than a label, or nothing
    glued: bool  # a word and a piece of a label are one word
    repeats: bool  # it has a sentence twice, or words in a loop
    cut: bool  # it ends inside a sentence, and others do not
    shared: bool  # a row with another label has the same text

    @property
    def healthy(self) -> bool:
        return not any(getattr(self, name) for name in FAULTS)


def measure_health(records: Sequence[Record], task: Task) -> list[Health | None]:
    """The health [N] of N records' rationales; None where a record has no rationale.

    - `bare_label`: apart from function words, all its words are of one label: a label of the task,
      its own label, or the value of that.
    - `glued`: a word that no input, reference or English dictionary has begins as a known word, and
      goes on as a label or a piece of one ("Theyubtraction"). Or such a piece follows a sentence
      mark without a space ("books.action").
    - `repeats`: it has a sentence twice, or up to 8 words three times in a row.
    - `cut`: it is no bare label and ends without a sentence mark, but most references end with one.
      Where there are no references: most rationales.
    - `shared`: a row that got another label has the same rationale, and it is not the reference.
    """
    texts = [record.reference for record in records if record.reference]
    ends = [bool(_ENDS.search(text.strip())) for text in texts or _rationales(records)]
    marked = sum(ends) > len(ends) / 2
    known = _known_words(records, task)
    labels: dict[str, set[str]] = defaultdict(set)  # by the rationale of the rows that got them
    for record in records:
        labels[_normalised(record.rationale or "")].add(record.label)

    def of(record: Record) -> Health | None:
        text = record.rationale
        if text is None:
            return None
        pieces = _pieces(_labels(record, task))
        bare = is_bare_label(record, task)
        return Health(
            bare_label=bare,
            glued=any(_is_glued(token, pieces, known) for token in text.lower().split()),
            repeats=_repeats(text),
            cut=marked and not bare and not _ENDS.search(text.strip()),
            shared=len(labels[_normalised(text)]) > 1 and not equals_reference(record),
        )

    return [of(record) for record in records]


def is_bare_label(record: Record, task: Task) -> bool:
    """Whether a rationale is only a label or its value. An empty rationale is, too."""
    rationale = record.rationale or ""
    if task.answer == "arithmetic" and evaluate_equation(rationale) is not None:
        return True  # an equation alone, whether it is the label or another one
    said = {word.lower() for word in words_in(rationale)} - FUNCTION_WORDS - {"answer"}
    texts = [*_labels(record, task)]
    if task.answer == "arithmetic" and (value := evaluate_equation(record.label)) is not None:
        texts.append(f"{value:g} {value}")
    return any(said <= {word.lower() for word in words_in(text)} for text in texts)


def equals_reference(record: Record) -> bool | None:
    """Whether a rationale equals its row's reference, apart from spaces; None without either."""
    if record.rationale is None or record.reference is None:
        return None
    return _normalised(record.rationale) == _normalised(record.reference)


def health_shares(found: Iterable[Health | None]) -> dict[str, float]:
    """The shares of `healthy` rationales and of each fault; empty where there are no rationales."""
    there = [one for one in found if one is not None]
    if not there:
        return {}
    names = ("healthy", *FAULTS)
    return {name: sum(getattr(one, name) for one in there) / len(there) for name in names}


def _labels(record: Record, task: Task) -> tuple[str, ...]:
    return (*(task.labels_of(record.input) or ()), record.label)


def _rationales(records: Sequence[Record]) -> list[str]:
    return [record.rationale for record in records if record.rationale]


def _normalised(text: str) -> str:
    return " ".join(text.split())


@dataclass(frozen=True)
class _Pieces:
    """The pieces of labels that can be glued to a word."""

    words: frozenset[str]
    ends: frozenset[str]  # of words, and the words themselves
    grams: frozenset[str]  # of GRAM letters


@lru_cache(maxsize=4096)
def _pieces(labels: tuple[str, ...]) -> _Pieces:
    words = {word.lower() for label in labels for word in words_in(label)}
    words = {word for word in words if len(word) > 1 and not any(map(str.isdigit, word))}
    ends = {word[-size:] for word in words for size in range(SHORTEST_END, len(word))}
    grams = {
        word[start : start + GRAM]
        for word in words
        if len(word) >= 2 * GRAM
        for start in range(len(word) - GRAM + 1)
    }
    return _Pieces(frozenset(words), frozenset(ends | words), frozenset(grams))


def _is_glued(token: str, pieces: _Pieces, known: frozenset[str]) -> bool:
    token = token.strip(_EDGES)
    if token in known or token in _english() or _is_inflected(token, pieces.words):
        return False
    parts = re.split(rf"[{re.escape(_SENTENCE_MARKS)}]+", token)
    if any(part in pieces.ends for part in parts[1:]):
        return True
    for part in parts:
        for place in range(1, len(part)):
            left, right = part[:place], part[place:]
            if left.isdigit() and right in pieces.ends:
                return True
            word = left in FUNCTION_WORDS or (len(left) > 1 and left in known)
            if word and (right in pieces.words or right[:GRAM] in pieces.grams):
                return True
            if left in pieces.words and len(right) > 1 and right in known:
                return True
    return False


def _is_inflected(token: str, words: Iterable[str]) -> bool:
    return any(
        token.startswith(word[:-1]) and len(token) <= len(word) + LONGEST_SUFFIX
        for word in words
        if len(word) > SHORTEST_END
    )


@cache
def _english() -> SpellChecker:
    return SpellChecker(language="en")


def _known_words(records: Sequence[Record], task: Task) -> frozenset[str]:
    """The words of all inputs, references and labels, in lower case."""
    texts = {text for one in records for text in (one.text, one.reference) if text}
    known = set(FUNCTION_WORDS)
    for text in texts.union(*(_labels(record, task) for record in records)):
        lower = text.lower()
        known.update(token.strip(_EDGES) for token in lower.split())
        known.update(words_in(lower))
    return frozenset(known)


def _repeats(text: str) -> bool:
    sentences = [tuple(words_in(sentence.lower())) for sentence in sentences_in(text)]
    sentences = [sentence for sentence in sentences if len(sentence) > 1]
    if len(set(sentences)) < len(sentences):
        return True
    words = text.lower().split()
    for size in range(1, LONGEST_LOOP + 1):
        for start in range(len(words) - LOOP * size + 1):
            looped = words[start : start + size]
            if words[start : start + LOOP * size] == LOOP * looped and _has_letters(looped):
                return True
    return False


def _has_letters(words: Sequence[str]) -> bool:
    """Whether a word has letters. Long sums, such as 2 + 2 + 2, have none, and are no loops."""
    return any(character.isalpha() for word in words for character in word)
