"""A teacher's answer: a rationale and a label, or the reason why it cannot be used."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.equations import evaluate_equation
from tasks.task import Task, texts_in
from training.annotation.prompt import ANSWER
from training.data.completions import Unparsed, one_of
from training.data.row import Row

LEAKED_WORDS = 8  # words of the prompt in a row: a rationale with so many repeats the prompt
MAX_LABEL_CHARACTERS = 256  # of an open label: a longer text goes on after its label

_THOUGHT = re.compile(r"\A.*?</think>", re.DOTALL)  # what a model that reasons aloud writes first
_MARKUP = "*_`"  # around a label
_ANSWER = re.compile(  # with the markup that models often put around it
    rf"^[\s*_#>]*{ANSWER.removesuffix(':')}[*_]*:[*_]*", re.IGNORECASE | re.MULTILINE
)
_WORD = re.compile(r"\w+")
_LETTER = re.compile(r"\A\([a-z]\)\s*")  # names a choice
_TOLD = re.compile(  # says that the label was known before
    r"\b(?:known|given|provided) (?:answer|label)\b(?! choices| options)"
    r"|\b(?:answer|label) (?:is|was) (?:already )?(?:known|given|provided)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Annotation:
    """The label that a teacher gives a row, and its rationales.

    Where several samples vote: the label of most samples, the rationales that led to it, and the
    share of all samples, failed ones included, that have it.
    """

    label: str
    rationales: tuple[str, ...]
    agreement: float = 1.0


class Parser:
    """Parses answers strictly: an answer is a rationale and a label of the task, or an error."""

    def __init__(
        self, task: Task, constant_texts: Iterable[str], *, as_json: bool, given_label: bool
    ) -> None:
        self.task = task
        self.as_json = as_json
        self.given_label = given_label
        self._constant = set[tuple[str, ...]]().union(*map(_runs, constant_texts))

    def parse(self, answer: str, row: Row) -> Annotation:
        """The annotation that an answer gives. Raises Unparsed, with the reason."""
        answer = _THOUGHT.sub("", answer).strip()
        if not answer:
            raise Unparsed("empty answer")
        if answer.startswith("<think>"):
            raise Unparsed("answer that never comes to an end of its thoughts")
        rationale, label = self._from_json(answer) if self.as_json else self._from_text(answer)
        if not rationale:
            raise Unparsed("answer without a rationale")
        label = self._label(label, row)
        self._refuse_leaks(rationale, row)
        if self.given_label and not self.task.is_right(label, row.label or ""):
            raise Unparsed("answer with another label than the given one")
        return Annotation(label, (rationale,))

    def _from_text(self, answer: str) -> tuple[str, str]:
        marks = list(_ANSWER.finditer(answer))
        if not marks:
            raise Unparsed(f'answer without a line that begins with "{ANSWER}"')
        if len(marks) > 1:
            raise Unparsed(f'answer with several lines that begin with "{ANSWER}"')
        return answer[: marks[0].start()].strip(), answer[marks[0].end() :]

    def _from_json(self, answer: str) -> tuple[str, str]:
        try:
            content = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise Unparsed("answer that is not JSON") from error
        if not isinstance(content, dict) or set(content) != {"rationale", "label"}:
            raise Unparsed("JSON that is no object of rationale and label alone")
        rationale, label = content["rationale"], content["label"]
        if not isinstance(rationale, str) or not isinstance(label, str):
            raise Unparsed("JSON whose rationale or label is no text")
        if any("\ud800" <= character <= "\udfff" for character in rationale + label):
            raise Unparsed("JSON with half of a surrogate pair")
        return rationale.strip(), label

    def _label(self, answer: str, row: Row) -> str:
        answer = answer.strip().strip(_MARKUP).removesuffix(".").strip()
        if "\n" in answer:
            raise Unparsed("answer that goes on after its label")
        labels = self.task.labels_of(row.input)
        if labels is not None:
            lettered = self.task.choices is not None
            return one_of(_LETTER.sub("", answer) if lettered else answer, labels)
        if not answer:
            raise Unparsed("answer without a label")
        if self.task.answer == "arithmetic" and evaluate_equation(answer) is None:
            raise Unparsed("label that is no equation with a value")
        if len(answer) > MAX_LABEL_CHARACTERS:
            raise Unparsed(f"label of over {MAX_LABEL_CHARACTERS} characters")
        return answer

    def _refuse_leaks(self, rationale: str, row: Row) -> None:
        """Raises Unparsed for words of the prompt, because a student would learn to write them."""
        own = _runs(" ".join(texts_in(row.input)))
        if any(run in self._constant and run not in own for run in _runs(rationale)):
            raise Unparsed("rationale that repeats the prompt")
        if self.given_label and _TOLD.search(rationale):
            raise Unparsed("rationale that tells that the label was given")


def _runs(text: str) -> set[tuple[str, ...]]:
    """All sequences of LEAKED_WORDS words in a text."""
    words = [word.casefold() for word in _WORD.findall(text)]
    return {
        tuple(words[start : start + LEAKED_WORDS]) for start in range(len(words) - LEAKED_WORDS + 1)
    }
