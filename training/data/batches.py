"""Batches: examples as token ids, and the collator of the two passes."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from tasks.task import Task
from training.config import DistillConfig
from training.data.label_sets import LabelSet, LabelSets
from training.student.decoding import pad
from training.student.files import Example
from training.student.passes import IGNORED

CHUNK = 1000  # texts tokenized at a time, as encodings take much memory


class TokenizedExamples(Dataset[dict[str, list[int]]]):
    """Examples as token ids. Each pass has its own prefix before the input.

    A text longer than its limit is cut before its end token; `cut` counts such rows by column.
    `codecs` turn each row's numbers into placeholders and back.
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
        shared = list(range(len(tokenizer)))  # one integer object for each id, to save memory

        def ids(column: str, texts: list[str], limit: int) -> list[list[int]]:
            rows: list[list[int]] = []
            for start in range(0, len(texts), CHUNK):
                for row in tokenizer(texts[start : start + CHUNK])["input_ids"]:
                    self.cut[column] += len(row) > limit
                    if len(row) > limit:
                        row = [*row[: limit - 1], tokenizer.eos_token_id]
                    rows.append([shared[token] for token in row])
            return rows

        self.codecs = [task.codec(task.render(example.input)) for example in examples]
        predict = [task.predict_prefix + codec.text for codec in self.codecs]
        explain = [task.explain_prefix + codec.text for codec in self.codecs]
        rows = list(zip(self.codecs, examples, strict=True))
        labels = [codec.mask_label(example.label) for codec, example in rows]
        rationales = [
            None if example.rationale is None else codec.mask_rationale(example.rationale)
            for codec, example in rows
        ]
        said = iter(
            ids("rationale", [one for one in rationales if one is not None], max_rationale_tokens)
        )
        self.columns = {
            "predict_input": ids("input", predict, max_input_tokens),
            "explain_input": ids("input", explain, max_input_tokens),
            "label": ids("label", labels, max_label_tokens),
            "rationale": [[] if text is None else next(said) for text in rationales],
        }

    def __len__(self) -> int:
        return len(self.columns["label"])

    def sizes(self, passes: Literal["predict", "both"]) -> list[int]:
        """The tokens of each row, inputs and targets together."""
        columns = ["predict_input", "label"]
        if passes == "both":
            columns += ["explain_input", "rationale"]
        rows = zip(*(self.columns[name] for name in columns), strict=True)
        return [sum(map(len, row)) for row in rows]

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {name: column[index] for name, column in self.columns.items()}


class JudgedExamples(TokenizedExamples):
    """Examples whose labels are judged. Each row has its number, under `row`.

    `golds` [N] are the right labels. `label_sets` [N] has the labels that each row's is chosen
    from; None where labels are open. Raises DataError where the service would refuse a label set.
    """

    def __init__(
        self,
        examples: list[Example],
        task: Task,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_label_tokens: int,
        place: str,
        **limits: int,
    ) -> None:
        """`place` names the rows in messages: validation, test."""
        super().__init__(examples, task, tokenizer, max_label_tokens=max_label_tokens, **limits)
        sets = LabelSets(task, tokenizer, max_label_tokens)
        self.golds = [example.label for example in examples]
        self.label_sets: list[LabelSet | None] = [
            sets.of(example.input, f"{place} row {number}")
            for number, example in enumerate(examples)
        ]

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {**super().__getitem__(index), "row": [index]}


def tokenize(
    config: DistillConfig, examples: list[Example], tokenizer: PreTrainedTokenizerBase
) -> TokenizedExamples:
    """Examples of a recipe's task, within the recipe's limits."""
    return TokenizedExamples(examples, config.task, tokenizer, **_limits(config))


def tokenize_judged(
    config: DistillConfig, examples: list[Example], tokenizer: PreTrainedTokenizerBase, place: str
) -> JudgedExamples:
    """The same, to measure accuracy on. Raises as JudgedExamples does."""
    return JudgedExamples(examples, config.task, tokenizer, place=place, **_limits(config))


def _limits(config: DistillConfig) -> dict[str, int]:
    names = ("max_input_tokens", "max_label_tokens", "max_rationale_tokens")
    return {name: getattr(config, name) for name in names}


@dataclass(frozen=True)
class TwoPassCollator:
    """Pads rows to a batch for each pass: `input_ids` and `attention_mask` [B,S],
    `decoder_input_ids` and `labels` [B,T], under "predict" and "explain".

    In the explain pass, a row without a rationale has only IGNORED labels. With
    `explain_given_label`, the row's label is the decoder prefix of that pass, and is IGNORED too.
    Of JudgedExamples, "predict" also has the numbers of the rows, `rows` [B].
    """

    pad_id: int
    decoder_start_id: int
    explain_given_label: bool = False

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, dict[str, torch.Tensor]]:
        predict = self._one_pass(rows, "predict_input", "label")
        if "row" in rows[0]:
            predict["rows"] = torch.tensor([row["row"][0] for row in rows])
        explain = self._one_pass(
            rows, "explain_input", "rationale", "label" if self.explain_given_label else None
        )
        return {"predict": predict, "explain": explain}

    def _one_pass(
        self, rows: list[dict[str, list[int]]], source: str, target: str, prefix: str | None = None
    ) -> dict[str, torch.Tensor]:
        sources = [row[source] for row in rows]
        targets = [row[target] for row in rows]
        before = [row[prefix] if prefix and row[target] else [] for row in rows]
        both = list(zip(before, targets, strict=True))
        labels = pad([[IGNORED] * len(read) + ids or [IGNORED] for read, ids in both], IGNORED)
        # transformers shifts labels in this way, and `mi-official` depends on it at padding
        shifted = pad([[self.decoder_start_id, *read, *ids] for read, ids in both], self.pad_id)
        return {
            "input_ids": pad(sources, self.pad_id),
            "attention_mask": pad([[1] * len(ids) for ids in sources], 0),
            "decoder_input_ids": shifted[:, : labels.shape[1]],
            "labels": labels,
        }
