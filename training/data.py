"""Examples: what a row is, the JSON lines loader, splits, and the collator of the two passes."""

import hashlib
import json
import random
import reprlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from training.tasks import Fields, Task

IGNORED = -100  # the label of padding, which torch's cross-entropy leaves out


class DataError(ValueError):
    """A data file is missing or wrong. The message names the file and the line."""


@dataclass(frozen=True)
class Example:
    """An input's fields, its label, and the teacher's rationale where there is one."""

    input: Fields
    label: str
    rationale: str | None


@dataclass
class Report:
    """What a loader read, and what it could not use."""

    source: str
    read: int = 0
    dropped: int = 0
    without_rationale: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        why = "".join(f"; {count} × {reason}" for reason, count in self.reasons.items())
        return (
            f"{self.source}: {self.read} rows, {self.dropped} dropped, "
            f"{self.without_rationale} without a rationale{why}"
        )


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, row) for each line of a JSON lines file; `place` is for error messages."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                place = f"{path}, line {number}"
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{place}: not JSON ({error})") from error
                if not isinstance(row, dict):
                    raise DataError(f"{place}: expected an object, found {type(row).__name__}")
                yield place, row
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error})") from error


def text_of(row: dict[str, Any], key: str, place: str) -> str:
    """The non-empty text under `key` of a row. Raises DataError."""
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        found = reprlib.repr(value)
        raise DataError(f'{place}: expected a non-empty text under "{key}", found {found}')
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DataError(f'{place}: half of a surrogate pair under "{key}", which is no text')
    return value.strip()


def texts_of(row: dict[str, Any], key: str, place: str) -> list[str]:
    """The non-empty list of non-empty texts under `key` of a row. Raises DataError."""
    values = row.get(key)
    if not isinstance(values, list) or not values:
        raise DataError(f'{place}: expected a list of texts under "{key}", found {values!r}')
    return [text_of({key: value}, key, place) for value in values]


def load_json_lines(path: Path, task: Task) -> tuple[list[Example], Report]:
    """Reads rows `{"input", "label", "rationale"}`.

    `input` is an object with the task's fields, or a text where the task has one field. A field
    that holds an input's labels is a list of texts.
    `rationale` may be missing or null: such a row trains the predict pass only.
    """
    report, examples = Report(str(path)), []
    for place, row in read_rows(path):
        report.read += 1
        inputs = row.get("input")
        if isinstance(inputs, dict):
            fields: Fields = {name: text_of(inputs, name, place) for name in task.texts}
            if task.choices is not None:
                fields[task.choices] = texts_of(inputs, task.choices, place)
        elif task.fields == task.texts and len(task.fields) == 1:
            fields = {task.fields[0]: text_of(row, "input", place)}
        else:
            raise DataError(f'{place}: "input" must be an object with {", ".join(task.fields)}')
        rationale = None
        if row.get("rationale") is None:
            report.without_rationale += 1
        else:
            rationale = text_of(row, "rationale", place)
        label, labels = text_of(row, "label", place), task.labels_of(fields)
        if labels is not None and label not in labels:
            raise DataError(f"{place}: the label {label!r} is not one of {', '.join(labels[:20])}")
        examples.append(Example(fields, label, rationale))
    return examples, report


@dataclass(frozen=True)
class Splits:
    train: list[Example]
    validation: list[Example]
    test: list[Example]
    reports: list[Report]

    def fingerprint(self) -> str:
        """SHA-256 over the rows that training may look at, in their order."""
        rows = [asdict(example) for example in (*self.train, *self.validation)]
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def hold_out(examples: list[Example], rows: int, seed: int) -> tuple[list[Example], list[Example]]:
    """Splits into (training, validation) with `rows` validation rows drawn by `seed`."""
    if rows >= len(examples):
        raise DataError(
            f"{len(examples)} usable training rows, of which validation_rows would take {rows}; "
            "lower validation_rows, or bring more rows"
        )
    shuffled = random.Random(seed).sample(examples, len(examples))
    return shuffled[rows:], shuffled[:rows]


class TokenizedExamples(Dataset[dict[str, list[int]]]):
    """Examples as token ids, with the prefix of either pass before the input.

    What is longer than its limit is cut, its end token kept; `cut` counts the rows by column.
    """

    def __init__(
        self,
        examples: list[Example],
        task: Task,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_input_tokens: int,
        max_label_tokens: int,
        max_rationale_tokens: int,
    ) -> None:
        self.cut: Counter[str] = Counter()

        def ids(column: str, texts: list[str], limit: int) -> list[list[int]]:
            rows = tokenizer(texts)["input_ids"]
            self.cut[column] += sum(len(row) > limit for row in rows)
            return [
                row if len(row) <= limit else [*row[: limit - 1], tokenizer.eos_token_id]
                for row in rows
            ]

        texts = [task.render(example.input) for example in examples]
        predict = [task.predict_prefix + text for text in texts]
        explain = [task.explain_prefix + text for text in texts]
        rationales = [example.rationale for example in examples]
        self.columns = {
            "predict_input": ids("input", predict, max_input_tokens),
            "explain_input": ids("input", explain, max_input_tokens),
            "label": ids("label", [example.label for example in examples], max_label_tokens),
            "rationale": [
                [] if rationale is None else ids("rationale", [rationale], max_rationale_tokens)[0]
                for rationale in rationales
            ],
        }

    def __len__(self) -> int:
        return len(self.columns["label"])

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {name: column[index] for name, column in self.columns.items()}


@dataclass(frozen=True)
class TwoPassCollator:
    """Pads rows to a batch for each pass: `input_ids` and `attention_mask` [B,S],
    `decoder_input_ids` and `labels` [B,T], under "predict" and "explain".

    A row without a rationale has only IGNORED labels in the explain pass.
    """

    pad_id: int
    decoder_start_id: int

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, dict[str, torch.Tensor]]:
        return {
            "predict": self._one_pass(rows, "predict_input", "label"),
            "explain": self._one_pass(rows, "explain_input", "rationale"),
        }

    def _one_pass(
        self, rows: list[dict[str, list[int]]], source: str, target: str
    ) -> dict[str, torch.Tensor]:
        sources = [row[source] for row in rows]
        targets = [row[target] for row in rows]
        return {
            "input_ids": _pad(sources, self.pad_id),
            "attention_mask": _pad([[1] * len(ids) for ids in sources], 0),
            "decoder_input_ids": _pad(
                [[self.decoder_start_id, *ids[:-1]] for ids in targets], self.pad_id
            ),
            "labels": _pad([ids or [IGNORED] for ids in targets], IGNORED),
        }


def _pad(sequences: list[list[int]], value: int) -> torch.Tensor:
    tensors = [torch.tensor(sequence) for sequence in sequences]
    return pad_sequence(tensors, batch_first=True, padding_value=value)
