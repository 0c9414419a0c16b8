"""The trainer: a predict pass and an explain pass of the same weights at every step."""

from statistics import mean
from typing import Any

import numpy as np
import torch
from transformers import (
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Seq2SeqTrainer,
)
from transformers.trainer_utils import EvalLoopOutput

from training.batches import IGNORED
from training.contrastive import ContrastiveHeads
from training.information import information_bound
from training.objectives import OBJECTIVES, Losses, Options
from training.passes import Pass, WholeBatch
from training.tasks import Task

Batch = dict[str, Any]  # TwoPassCollator's: for each pass, a dict of tensors
HEADS = "contrastive_heads"  # of the model, in training with mi-infonce


class TwoTaskTrainer(Seq2SeqTrainer):
    """Minimises one of `training.objectives` over batches of TwoPassCollator.

    Beside the loss it logs each of the objective's terms, averaged since the last log. Evaluation
    generates labels greedily, at most `args.generation_max_length` tokens, and where the objective
    has two passes logs `mi_bound` beside the terms: see `information_bound`.

    The heads of `mi-infonce` are a part of the model, `contrastive_heads`, as long as it is
    trained: the optimizer, checkpoints and a resumed run know them. `save_model` leaves them out.
    """

    def __init__(
        self, model: PreTrainedModel, *args: Any, objective: str, options: Options, **kwargs: Any
    ) -> None:
        if objective == "mi-infonce":
            model.add_module(HEADS, ContrastiveHeads(model.config.d_model))
        super().__init__(model, *args, **kwargs)
        self.objective: str = objective
        self.options = options
        self._terms: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}  # by model.training
        self._states: list[tuple[torch.Tensor, torch.Tensor]] = []  # of the rows evaluated so far

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        return self._losses(*self._passes(model, inputs))["loss"]

    def _passes(self, model: torch.nn.Module, inputs: Batch) -> tuple[Pass, Pass]:
        if self.objective == "finetune":  # looks at the predict pass alone
            predict = _forward(model, inputs["predict"])
            return predict, predict
        with_states = self.objective == "mi-infonce" or not model.training
        return (
            _forward(model, inputs["predict"], with_states),
            _forward(model, inputs["explain"], with_states),
        )

    def _losses(self, predict: Pass, explain: Pass) -> Losses:
        model = self.accelerator.unwrap_model(self.model)
        # evaluations are compared with each other, so β is the same in all
        step = self.state.global_step if model.training else self.options.beta_warmup_steps
        options = self.options.at_step(step)
        pairs = None
        if self.objective == "mi-infonce":
            pairs = model.get_submodule(HEADS)(predict, explain, options.detach)
        whole = WholeBatch.of(predict, explain, pairs)
        losses = OBJECTIVES[self.objective](predict, explain, options, whole)
        for name, loss in losses.items():
            if name != "loss":
                self._terms[model.training].setdefault(name, []).append(loss.item())
        return losses

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
            passes = self._passes(model, inputs)
            loss = self._losses(*passes)["loss"]
            if self.objective != "finetune":
                self._remember(*passes)
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

    def _remember(self, predict: Pass, explain: Pass) -> None:
        states = predict.mean_state(), explain.mean_state(), explain.has_targets
        z, v, usable = self.accelerator.gather_for_metrics(states)
        self._states.append((z[usable].cpu(), v[usable].cpu()))

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        self._states.clear()
        output = super().evaluation_loop(*args, **kwargs)
        if self._states:
            z, v = map(torch.cat, zip(*self._states, strict=True))
            bound = information_bound(z, v)
            if bound is not None:
                assert output.metrics is not None
                output.metrics[f"{kwargs['metric_key_prefix']}_mi_bound"] = round(bound, 4)
        return output

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        modules = self.accelerator.unwrap_model(self.model)._modules
        heads = None if _internal_call else modules.pop(HEADS, None)
        super().save_model(output_dir, _internal_call)
        if heads is not None:
            modules[HEADS] = heads

    def floating_point_ops(self, inputs: Batch) -> int:
        return 0  # transformers' estimate expects the batch of a single pass


def _forward(
    model: torch.nn.Module, batch: dict[str, torch.Tensor], with_states: bool = False
) -> Pass:
    # without labels: the model would compute a cross-entropy of its own
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    output = model(**inputs, output_hidden_states=with_states)
    states = output.decoder_hidden_states[-1] if with_states else None
    return Pass(output.logits, batch["labels"], states)


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
