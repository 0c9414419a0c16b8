"""A checkpoint, asked by torch."""

import hashlib
import math
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import torch
from pydantic import BaseModel, Field, ValidationError

from tasks.placeholders import Codec
from tasks.task import MAX_LABELS, Task
from training.data.row import DataError
from training.evaluation.decoding import Ids, batches_of, generate, score
from training.evaluation.labelled import LabelledRow
from training.evaluation.model import ModelError, batched
from training.evaluation.record import Record
from training.evaluation.temperature import FILE as CALIBRATION
from training.student.load import Student, load_pretrained
from training.yaml_files import ConfigError

RECORD = "student.json"
TOGETHER = 128  # rows that are sorted by length, and cut into batches

T = TypeVar("T")


class _Prompts(NamedTuple):
    """Of rows, in their order."""

    ids: list[list[int]]
    truncated: list[bool]  # a text that is too long loses its end


class _Text(NamedTuple):
    text: str
    logprob: float
    tokens: Ids


class _Labelled(NamedTuple):
    label: str
    confidence: float
    scores: dict[str, float] | None
    tokens: Ids


class StudentRecord(BaseModel):
    """What `student.json` says that answering needs. Token counts include the end token."""

    name: str
    task: Task
    max_input_tokens: int = Field(gt=1)
    max_label_tokens: int = Field(gt=1)
    max_rationale_tokens: int = Field(gt=1)


@dataclass(frozen=True)
class Checkpoint:
    """A student as `training/distill.py` leaves it, on a GPU where there is one.

    It answers in fp32 with a temperature of 1: precision and calibration come with a bundle.
    """

    folder: Path
    record: StudentRecord
    student: Student
    together: int = TOGETHER

    @classmethod
    def load(cls, folder: Path) -> "Checkpoint":
        """Raises ModelError."""
        path = folder / RECORD
        try:
            record = StudentRecord.model_validate_json(path.read_bytes())
            student = load_pretrained(str(folder))
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(map(str, problem["loc"]))
            raise ModelError(": ".join(filter(None, (str(path), key, problem["msg"])))) from error
        except ConfigError as error:
            raise ModelError(str(error)) from error
        student.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        return cls(folder, record, student)

    @property
    def task(self) -> Task:
        return self.record.task

    @cached_property
    def identity(self) -> dict[str, str]:
        digest = hashlib.sha256()
        for path in sorted([*self.folder.glob("*.safetensors"), *self.folder.glob("*.json")]):
            if path.name == CALIBRATION:  # on which no answer here depends
                continue
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return {"kind": "checkpoint", "name": self.record.name, "sha256": digest.hexdigest()}

    def answers(self, rows: Iterable[LabelledRow]) -> Iterator[Record]:
        """Raises DataError where a row brings labels that no service would take."""
        for some in batched(rows, self.together):
            codecs = [self.task.codec(row.text) for row in some]
            predict = self._prompts(self.task.predict_prefix, codecs)
            explain = self._prompts(self.task.explain_prefix, codecs)
            labels = self._labels(predict.ids, some, codecs)
            given = [label.tokens for label in labels] if self.task.explain_given_label else None
            rationales = self._texts(explain.ids, "rationale", given)
            for place, (row, codec) in enumerate(zip(some, codecs, strict=True)):
                truncated = predict.truncated[place] or explain.truncated[place]
                label, confidence, scores, _ = labels[place]
                rationale = codec.unmask_rationale(rationales[place].text)
                if not math.isfinite(confidence):
                    raise ModelError(
                        f"{self.folder}: its probabilities for {row.place} are no numbers; its "
                        "weights must be wrong"
                    )
                yield Record.of(self.task, row, label, confidence, scores, rationale, truncated)

    def _labels(
        self, prompts: list[list[int]], rows: list[LabelledRow], codecs: list[Codec]
    ) -> list[_Labelled]:
        if self.task.labels == "open":
            texts = zip(codecs, self._texts(prompts, "label"), strict=True)
            return [
                _Labelled(codec.unmask_label(one.text), math.exp(one.logprob), None, one.tokens)
                for codec, one in texts
            ]
        names = [self._names(row) for row in rows]
        ids = [self._name_ids(some, row) for some, row in zip(names, rows, strict=True)]

        def best(places: list[int]) -> list[_Labelled]:
            found: list[_Labelled] = []
            logprobs = score(
                self.student.model, [prompts[i] for i in places], [ids[i] for i in places]
            )
            for place, values in zip(places, logprobs, strict=True):
                shares = values.double().softmax(0).tolist()  # Guo et al., 2017
                share = max(shares)
                first = shares.index(share)  # of equals
                scores = dict(zip(names[place], shares, strict=True))
                found.append(_Labelled(names[place][first], share, scores, ids[place][first]))
            return found

        return _in_batches(prompts, 0, best)

    def _texts(
        self,
        prompts: Sequence[Ids],
        kind: Literal["label", "rationale"],
        given: Sequence[Ids] | None = None,
    ) -> list[_Text]:
        """The greedy text after each prompt, before which the decoder reads what is `given`."""
        limit: int = getattr(self.record, f"max_{kind}_tokens")

        def texts(places: list[int]) -> list[_Text]:
            read = None if given is None else [given[i] for i in places]
            found = generate(self.student.model, [prompts[i] for i in places], limit, read)
            return [_Text(self._decode(tokens), logprob, tokens) for tokens, logprob in found]

        return _in_batches(prompts, limit, texts)

    def _prompts(self, prefix: str, codecs: list[Codec]) -> _Prompts:
        encoded = self.student.tokenizer(
            [prefix + codec.text for codec in codecs],
            truncation=True,
            max_length=self.record.max_input_tokens,
        )
        encodings = encoded.encodings
        assert encodings is not None  # as it is a fast tokenizer
        return _Prompts(encoded["input_ids"], [bool(one.overflowing) for one in encodings])

    def _decode(self, tokens: Ids) -> str:
        text = self.student.tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text).strip()

    def _names(self, row: LabelledRow) -> list[str]:
        names = [*dict.fromkeys(self.task.labels_of(row.input) or ())]  # named twice, it is one
        if len(names) > MAX_LABELS:
            raise DataError(f"{row.place}: {len(names)} labels, but at most {MAX_LABELS} may be")
        return names

    def _name_ids(self, names: list[str], row: LabelledRow) -> list[list[int]]:
        ids: list[list[int]] = self.student.tokenizer(names)["input_ids"]
        for name, tokens in zip(names, ids, strict=True):
            if len(tokens) > self.record.max_label_tokens:
                raise DataError(
                    f"{row.place}: the label {reprlib.repr(name)} has {len(tokens)} tokens, but "
                    f"a label of {self.record.name} has at most {self.record.max_label_tokens}"
                )
        return ids


def _in_batches(
    prompts: Sequence[Ids], written: int, work: Callable[[list[int]], list[T]]
) -> list[T]:
    """What `work` makes of batches of the prompts' places, in the order of the prompts."""
    done: dict[int, T] = {}
    for places in batches_of([len(prompt) for prompt in prompts], written):
        done.update(zip(places, work(places), strict=True))
    return [done[place] for place in range(len(prompts))]
