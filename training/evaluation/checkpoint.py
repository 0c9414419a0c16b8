"""A checkpoint that answers rows with torch."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from tasks.placeholders import Codec
from tasks.task import Task
from training.data.label_sets import LabelSet, LabelSets
from training.evaluation.labelled import LabelledRow
from training.evaluation.model import ModelError, batched
from training.evaluation.record import Record
from training.student.decoding import Ids, batches_of, generate, likeliest, score
from training.student.files import (
    CALIBRATION,
    StudentError,
    StudentInterface,
    StudentPass,
    read_record,
)
from training.student.load import Student, load_pretrained

TOGETHER = 128  # rows that are sorted by length and cut into batches

T = TypeVar("T")


class _Prompts(NamedTuple):
    """The tokens of rows' prompts."""

    ids: list[list[int]]
    truncated: list[bool]  # whether a text was too long and lost its end


class _Text(NamedTuple):
    text: str
    logprob: float
    tokens: Ids


class _Labelled(NamedTuple):
    label: str
    confidence: float
    scores: dict[str, float] | None
    tokens: Ids


@dataclass(frozen=True)
class Checkpoint:
    """A student as `training/distill.py` writes it, on a GPU if there is one.

    It answers in fp32 with a temperature of 1. Only a bundle has a precision and a calibration.
    """

    folder: Path
    interface: StudentInterface
    student: Student
    together: int = TOGETHER

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """The checkpoint in a folder. Raises ModelError."""
        try:
            record, student = read_record(folder), load_pretrained(folder)
        except StudentError as error:
            raise ModelError(str(error)) from error
        student.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        return cls(folder, record, student)

    @property
    def task(self) -> Task:
        return self.interface.task

    @cached_property
    def identity(self) -> dict[str, str]:
        digest = hashlib.sha256()
        for path in sorted([*self.folder.glob("*.safetensors"), *self.folder.glob("*.json")]):
            if path.name == CALIBRATION:  # no answer here depends on it
                continue
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return {"kind": "checkpoint", "name": self.interface.name, "sha256": digest.hexdigest()}

    def answers(self, rows: Iterable[LabelledRow]) -> Iterator[Record]:
        """The record of each row. Raises DataError for labels that a service would refuse."""
        for some in batched(rows, self.together):
            codecs = [self.task.codec(row.text) for row in some]
            predict = self._prompts(self.interface.predict, codecs)
            truncated = predict.truncated
            labels = self._labels(predict.ids, some, codecs)
            rationales: list[str | None] = [None for _ in some]
            if self.interface.explains:
                explain = self._prompts(self.interface.explain, codecs)
                truncated = [*map(any, zip(truncated, explain.truncated, strict=True))]
                rationales = [*self._rationales(explain.ids, labels, codecs)]
            for place, row in enumerate(some):
                label, confidence, scores, _ = labels[place]
                if not math.isfinite(confidence):
                    raise ModelError(
                        f"{self.folder}: its probabilities for {row.place} are no numbers; its "
                        "weights must be wrong"
                    )
                yield Record.of(
                    self.task,
                    row,
                    label,
                    confidence,
                    scores,
                    rationales[place],
                    truncated[place],
                )

    def _rationales(
        self, prompts: list[list[int]], labels: list[_Labelled], codecs: list[Codec]
    ) -> Iterator[str]:
        prefixes = [label.tokens for label in labels] if self.task.explain_given_label else None
        said = self._texts(prompts, self.interface.max_rationale_tokens, prefixes)
        for codec, one in zip(codecs, said, strict=True):
            yield codec.unmask_rationale(one.text)

    def _labels(
        self, prompts: list[list[int]], rows: list[LabelledRow], codecs: list[Codec]
    ) -> list[_Labelled]:
        if self.task.labels == "open":
            texts = zip(codecs, self._texts(prompts, self.interface.max_label_tokens), strict=True)
            return [
                _Labelled(codec.unmask_label(one.text), math.exp(one.logprob), None, one.tokens)
                for codec, one in texts
            ]
        sets = [self._label_set(row) for row in rows]

        def best(places: list[int]) -> list[_Labelled]:
            found: list[_Labelled] = []
            logprobs = score(
                self.student.model, [prompts[i] for i in places], [sets[i].ids for i in places]
            )
            for place, values in zip(places, logprobs, strict=True):
                names, ids = sets[place]
                shares = values.double().softmax(0).tolist()  # Guo et al., 2017
                first = likeliest(values)
                scores = dict(zip(names, shares, strict=True))
                found.append(_Labelled(names[first], shares[first], scores, ids[first]))
            return found

        return _in_batches(prompts, 0, best)

    def _texts(
        self,
        prompts: Sequence[Ids],
        max_new_tokens: int,
        decoder_prefixes: Sequence[Ids] | None = None,
    ) -> list[_Text]:
        """The greedy text after each prompt and its decoder prefix."""

        def texts(places: list[int]) -> list[_Text]:
            prefixes = None if decoder_prefixes is None else [decoder_prefixes[i] for i in places]
            found = generate(
                self.student.model, [prompts[i] for i in places], max_new_tokens, prefixes
            )
            return [_Text(self._decode(tokens), logprob, tokens) for tokens, logprob in found]

        return _in_batches(prompts, max_new_tokens, texts)

    def _prompts(self, one: StudentPass, codecs: list[Codec]) -> _Prompts:
        encoded = self.student.tokenizer(
            [one.prefix + codec.text for codec in codecs],
            truncation=True,
            max_length=self.interface.max_input_tokens,
        )
        encodings = encoded.encodings
        assert encodings is not None  # as it is a fast tokenizer
        return _Prompts(encoded["input_ids"], [bool(one.overflowing) for one in encodings])

    def _decode(self, tokens: Ids) -> str:
        text = self.student.tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text).strip()

    def _label_set(self, row: LabelledRow) -> LabelSet:
        found = self._label_sets.of(row.input, row.place)
        assert found is not None
        return found

    @cached_property
    def _label_sets(self) -> LabelSets:
        return LabelSets(self.task, self.student.tokenizer, self.interface.max_label_tokens)


def _in_batches(
    prompts: Sequence[Ids], written: int, work: Callable[[list[int]], list[T]]
) -> list[T]:
    """The results of `work` on batches of places, in the order of the prompts."""
    done: dict[int, T] = {}
    for places in batches_of([len(prompt) for prompt in prompts], written):
        done.update(zip(places, work(places), strict=True))
    return [done[place] for place in range(len(prompts))]
