"""The labels that a student chooses from, as the service gives them to it."""

import reprlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from tasks.task import MAX_LABELS, Fields, Task
from training.data.row import DataError


class LabelSet(NamedTuple):
    """The labels of a row, each once, and the token ids of each, with the end token."""

    names: list[str]
    ids: list[list[int]]


@dataclass(frozen=True)
class LabelSets:
    """The label sets of a task's rows. A student's label has at most `max_label_tokens`."""

    task: Task
    tokenizer: PreTrainedTokenizerBase
    max_label_tokens: int

    def of(self, fields: Fields, place: str) -> LabelSet | None:
        """The labels of a row; None where labels are open.

        Raises DataError, which names the row's place, where the service would refuse them.
        """
        if self.task.labels == "open":
            return None
        if self.task.choices is None:
            return self._of_all
        names = [*dict.fromkeys(self.task.labels_of(fields) or ())]
        if len(names) > MAX_LABELS:
            raise DataError(f"{place}: {len(names)} labels, but at most {MAX_LABELS} may be")
        return self._tokenized(names, place)

    @cached_property
    def _of_all(self) -> LabelSet:
        assert isinstance(self.task.labels, list)
        return self._tokenized(self.task.labels, "task.labels")

    def _tokenized(self, names: list[str], place: str) -> LabelSet:
        ids: list[list[int]] = self.tokenizer(names)["input_ids"]
        for name, tokens in zip(names, ids, strict=True):
            if len(tokens) > self.max_label_tokens:
                raise DataError(
                    f"{place}: the label {reprlib.repr(name)} has {len(tokens)} tokens, but a "
                    f"label of this student has at most {self.max_label_tokens} (max_label_tokens)"
                )
        return LabelSet(names, ids)
