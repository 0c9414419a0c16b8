"""The trainer: a predict pass and an explain pass of the same weights at every step."""

from statistics import mean
from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction, PreTrainedTokenizerBase, Seq2SeqTrainer

from training.batches import IGNORED
from training.objectives import OBJECTIVES, Pass, Weights
from training.tasks import Task

Batch = dict[str, Any]  # TwoPassCollator's: for each pass, a dict of tensors


class TwoTaskTrainer(Seq2SeqTrainer):
    """Minimises one of `training.objectives` over batches of TwoPassCollator.

    Beside the loss it logs each of the objective's terms, averaged since the last log. Evaluation
    generates labels greedily, at most `args.generation_max_length` tokens.
    """

    def __init__(self, *args: Any, objective: str, weights: Weights, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.objective: str = objective
        self.weights = weights
        self._terms: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}  # by model.training

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        predict = _forward(model, inputs["predict"])
        # finetune looks at its first argument alone, so it is spared the second pass
        explain = predict if self.objective == "finetune" else _forward(model, inputs["explain"])
        losses = OBJECTIVES[self.objective](predict, explain, self.weights)
        for name, loss in losses.items():
            if name != "loss":
                self._terms[model.training].setdefault(name, []).append(loss.item())
        return losses["loss"]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        measured = next((name for name in logs if name.endswith("_loss")), None)
        prefix = measured.removesuffix("loss") if measured else ""
        terms = self._terms[measured is None]
        logs.update({prefix + name: round(mean(term), 4) for name, term in terms.items()})
        terms.clear()
        super().log(logs, *args, **kwargs)

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
        **generation: Any,
    ) -> tuple[Any, torch.Tensor | None, torch.Tensor | None]:
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad():
            loss = self.compute_loss(model, inputs)
            predict = inputs["predict"]
            tokens = self.accelerator.unwrap_model(model).generate(
                input_ids=predict["input_ids"],
                attention_mask=predict["attention_mask"],
                max_new_tokens=self.args.generation_max_length,  # type: ignore[attr-defined]
                do_sample=False,
                num_beams=1,
                **generation,
            )
        return loss, tokens, predict["labels"]

    def floating_point_ops(self, inputs: Batch) -> int:
        return 0  # transformers' estimate expects the batch of a single pass


def _forward(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Pass:
    # without labels: the model would compute a cross-entropy of its own
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    return Pass(model(**inputs).logits, batch["labels"])


class LabelAccuracy:
    """The share of generated labels that the task calls right, and that are the same text.

    `selection` ranks steps: by accuracy, and of equally accurate steps by the lower loss.
    """

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerBase) -> None:
        self.task = task
        self.tokenizer = tokenizer

    def __call__(self, results: EvalPrediction) -> dict[str, float]:
        predictions, labels = self._texts(results.predictions), self._texts(results.label_ids)
        right = [self.task.is_right(*pair) for pair in zip(predictions, labels, strict=True)]
        exact = [prediction == label for prediction, label in zip(predictions, labels, strict=True)]
        accuracy = mean(right)
        return {
            "accuracy": accuracy,
            "exact": mean(exact),
            "selection": accuracy - 1e-9 * float(np.asarray(results.losses).mean()),
        }

    def _texts(self, ids: Any) -> list[str]:
        ids = [[token for token in row if token != IGNORED] for row in ids.tolist()]
        return self.tokenizer.batch_decode(ids, skip_special_tokens=True)
