"""How often a student in training is right, as the service would answer."""

from statistics import mean

import numpy as np
from numpy.typing import NDArray
from transformers import EvalPrediction, PreTrainedTokenizerBase

from tasks.task import Task
from training.data.batches import JudgedExamples
from training.student.passes import IGNORED


class LabelAccuracy:
    """The share of labels that are right by the task, and the share with the gold label's text.

    `selection` ranks steps: by accuracy, then by the lower loss. `rows` are the N evaluated rows,
    in order. `right` [N] says which labels were right, after the call.
    """

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerBase) -> None:
        self.task = task
        self.tokenizer = tokenizer
        self.rows: JudgedExamples | None = None
        self.right: list[bool] = []

    def __call__(self, results: EvalPrediction) -> dict[str, float]:
        """The measures of TwoPassTrainer's predictions."""
        assert self.rows is not None
        golds = self.rows.golds
        # several processes fill their last batches with the first rows again
        predictions = self._labels(self.rows, np.asarray(results.predictions)[: len(golds)])
        pairs = list(zip(predictions, golds, strict=True))
        self.right = [self.task.is_right(*pair) for pair in pairs]
        accuracy = mean(self.right)
        return {
            "accuracy": accuracy,
            "exact": mean(label.strip() == gold.strip() for label, gold in pairs),
            "selection": accuracy - 1e-9 * float(np.asarray(results.losses).mean()),
        }

    def _labels(self, rows: JudgedExamples, said: NDArray[np.int64]) -> list[str]:
        """The labels [N], by their places in the label sets, or by the tokens of open ones."""
        if self.task.labels != "open":
            return [
                one.names[place]
                for one, (place,) in zip(rows.label_sets, said.tolist(), strict=True)
                if one is not None
            ]
        texts = self.tokenizer.batch_decode(
            [[token for token in row if token != IGNORED] for row in said.tolist()],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        return [
            codec.unmask_label(text.strip()) for codec, text in zip(rows.codecs, texts, strict=True)
        ]
