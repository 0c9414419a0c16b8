"""The trainer: a predict pass and an explain pass of the same weights at every step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import (
    Seq2SeqTrainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import EvalLoopOutput

from training.data.batch_sampler import ShuffledBatchSampler
from training.data.batches import JudgedExamples
from training.evaluation.label_accuracy import LabelAccuracy
from training.evaluation.sample import RationaleSample
from training.objectives import OBJECTIVES, Losses, Options
from training.run.accumulation import AccumulatedPairs
from training.run.distributed import gather_pairs
from training.student.contrastive import ContrastiveHeads
from training.student.decoding import decode, likeliest, score_labels
from training.student.mi_bound import information_bound
from training.student.passes import IGNORED, Pairs, Pass, WholeBatch
from training.student.unpadded import UnpaddedT5

Batch = dict[str, Any]  # TwoPassCollator's: for each pass, a dict of tensors
HEADS = "contrastive_heads"  # of the model, in training with mi-infonce


class TwoPassTrainer(Seq2SeqTrainer):
    """Minimises one of `training.objectives` over batches of TwoPassCollator.

    A `plan` deals the training rows out to steps, processes and accumulated batches. The loss and
    gradient of a step are those of all its rows at once. Each term of the objective is logged
    beside the loss (nats), as its mean since the last log.

    Evaluation predicts labels as the service does, on JudgedExamples: it scores the labels of a
    closed set, and decodes an open one greedily, up to `args.generation_max_length` tokens. If the
    objective has two passes, it logs `mi_bound` (nats; see `information_bound`). If there is a
    sample of `rationales`, it logs their health, as `rationales_healthy` and so on (see
    `RationaleSample`).

    The heads of `mi-infonce` are a part of the model while it is trained, `contrastive_heads`. So
    the optimizer, checkpoints and a resumed run know them.
    """

    def __init__(
        self,
        model: UnpaddedT5,
        *args: Any,
        objective: str,
        options: Options,
        plan: ShuffledBatchSampler | None = None,
        rationales: RationaleSample | None = None,
        **kwargs: Any,
    ) -> None:
        if objective == "mi-infonce":
            model.add_module(HEADS, ContrastiveHeads(model.config.d_model))
        super().__init__(model, *args, **kwargs)
        self.model_accepts_loss_kwargs = True  # losses are sums over parts of a batch, not means
        self.objective: str = objective
        self.options = options
        self.plan = plan
        self.rationales = rationales
        self._terms: dict[bool, _Terms] = {True: _Terms(), False: _Terms()}  # by model.training
        self._parts: AccumulatedPairs | None = None  # of the step in work
        self._states: list[tuple[torch.Tensor, torch.Tensor]] = []  # of the rows evaluated so far
        if plan is not None:
            self.add_callback(_CountEpochs(plan))

    def get_train_dataloader(self) -> DataLoader:
        """The batches of this process for the whole run, which transformers takes for one epoch."""
        assert self.plan is not None
        assert self.train_dataset is not None
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.plan,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
            generator=torch.Generator(),  # so that a new loader leaves the seed of dropout alone
        )

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, *args: Any
    ) -> tuple[list[Batch], torch.Tensor]:
        """This process's batches of a step, and the three counts [3] of their WholeBatch."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, *args)
        counts = torch.zeros(3)
        for batch in batches:
            labels, rationales = ((batch[name]["labels"] != IGNORED) for name in batch)
            counts += torch.stack([labels.sum(), rationales.sum(), rationales.any(dim=1).sum()])
        counts = self.accelerator.reduce(counts.to(self.args.device), "sum")
        if self.objective == "mi-infonce" and len(batches) > 1:
            self._parts = self._pairs_of_parts(batches)
        return batches, counts.clamp(min=1) / self.args.world_size

    def _pairs_of_parts(self, batches: list[Batch]) -> AccumulatedPairs:
        parts = AccumulatedPairs()
        self.model_wrapped.train()  # as it will be in the step
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch in batches:
                parts.before_part()
                passes = self._passes(self.model_wrapped, self._prepare_inputs(batch))
                parts.append(*self._pairs(*passes))
        return parts

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        if self._parts is not None and model.training:
            self._parts.begin_part()
        return self._losses(*self._passes(model, inputs), num_items_in_batch)["loss"]

    def _passes(self, model: torch.nn.Module, inputs: Batch) -> tuple[Pass, Pass]:
        names = ["predict"] if self.objective == "finetune" else ["predict", "explain"]
        batches = [inputs[name] for name in names]
        # mi-official looks at padding too, and FSDP at the forward of each block
        if self.objective == "mi-official" or self.is_fsdp_enabled:
            passes = [_padded_pass(model, batch) for batch in batches]
        else:
            passes = model(passes=batches)
        return passes[0], passes[-1]

    def _losses(self, predict: Pass, explain: Pass, counts: torch.Tensor | None = None) -> Losses:
        model = self.accelerator.unwrap_model(self.model)
        # evaluations are compared with each other, so β is the same in all
        step = self.state.global_step if model.training else self.options.beta_warmup_steps
        options = self.options.at_step(step)
        whole = WholeBatch.of(predict, explain)
        if counts is not None:
            whole = WholeBatch(*counts)
        if self.objective == "mi-infonce":
            pairs, own = self._pairs(predict, explain)
            whole = whole._replace(pairs=pairs, own=own)
            if self._parts is not None and model.training:
                whole = self._parts.whole_with(whole)
        losses = OBJECTIVES[self.objective](predict, explain, options, whole)
        self._terms[model.training].add(losses)
        return losses

    def _pairs(self, predict: Pass, explain: Pass) -> tuple[Pairs, slice]:
        """The views of all processes' rows, or this one's in evaluation; and its own rows."""
        model = self.accelerator.unwrap_model(self.model)
        pairs: Pairs = model.get_submodule(HEADS)(predict, explain, self.options.detach)
        first, rows = 0, len(pairs.usable)
        if model.training and self.args.world_size > 1:
            pairs, first = gather_pairs(pairs)
        return pairs, slice(first, first + rows)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        measured = next((name for name in logs if name.endswith("_loss")), None)
        prefix = measured.removesuffix("loss") if measured else ""
        training = measured is None
        parts = self.args.gradient_accumulation_steps if training else 1
        terms, self._terms[training] = self._terms[training], _Terms()
        for name, value in terms.means(parts).items():
            logs[prefix + name] = round(self.accelerator.reduce(value, "mean").item(), 4)
        super().log(logs, *args, **kwargs)

    def prediction_step(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
        **_: Any,
    ) -> tuple[Any, torch.Tensor | None, torch.Tensor | None]:
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad():
            passes = self._passes(model, inputs)
            loss = self._losses(*passes)["loss"]
            if self.objective != "finetune":
                self._keep_states(*passes)
            with _in_full_precision(self.accelerator.unwrap_model(self.model)):
                said = self._predicted(inputs["predict"])
        return loss, said, inputs["predict"]["labels"]

    def _predicted(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """What LabelAccuracy reads: places in the rows' label sets [B,1], or tokens [B,T]."""
        model = self.accelerator.unwrap_model(self.model)
        input_ids, mask = batch["input_ids"], batch["attention_mask"]
        rows = batch["rows"].tolist() if "rows" in batch else []
        sets = [one.ids for row in rows if (one := self._judged.label_sets[row]) is not None]
        if not sets:
            most: int = self.args.generation_max_length  # type: ignore[attr-defined]
            return decode(model, input_ids, mask, most).tokens
        scores = score_labels(model, input_ids, mask, sets)
        return input_ids.new_tensor([[likeliest(values)] for values in scores])

    def _keep_states(self, predict: Pass, explain: Pass) -> None:
        states = predict.mean_state(), explain.mean_state(), explain.has_targets
        z, v, usable = self.accelerator.gather_for_metrics(states)
        self._states.append((z[usable].cpu(), v[usable].cpu()))

    def evaluation_loop(self, dataloader: DataLoader, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        self._states.clear()
        if isinstance(dataloader.dataset, JudgedExamples):
            self._judged = dataloader.dataset
            if isinstance(self.compute_metrics, LabelAccuracy):
                self.compute_metrics.rows = self._judged
        output = super().evaluation_loop(dataloader, *args, **kwargs)
        assert output.metrics is not None
        prefix = kwargs["metric_key_prefix"]
        if self._states:
            z, v = map(torch.cat, zip(*self._states, strict=True))
            bound = information_bound(z, v)
            if bound is not None:
                output.metrics[f"{prefix}_mi_bound"] = round(bound, 4)
        if self.rationales is not None:
            with _in_full_precision(self.accelerator.unwrap_model(self.model)):
                shares = self.rationales.measure()
            for name, share in shares.items():
                output.metrics[f"{prefix}_rationales_{name}"] = share
        return output

    def floating_point_ops(self, inputs: Batch) -> int:
        return 0  # transformers' estimate expects the batch of a single pass


@contextmanager
def _in_full_precision(model: torch.nn.Module) -> Iterator[None]:
    """Within it, the model computes in fp32, as a checkpoint answers.

    With bf16, accelerate gives the model a forward of its own, which rounds.
    """
    forward = model.__dict__.pop("forward", None)
    try:
        yield
    finally:
        if forward is not None:
            model.forward = forward


def _padded_pass(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Pass:
    # without labels: the model would compute a cross-entropy of its own
    names = ("input_ids", "attention_mask", "decoder_input_ids")
    inputs = {name: batch[name] for name in names}
    output = model(**inputs, use_cache=False, output_hidden_states=True)
    return Pass(output.logits, batch["labels"], output.decoder_hidden_states[-1])


class _Terms:
    """Sums of an objective's terms, on their device, because reading a number would wait for it."""

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.batches = 0

    def add(self, losses: Losses) -> None:
        self.batches += 1
        for name, loss in losses.items():
            if name != "loss":
                self.sums[name] = self.sums.get(name, 0) + loss.detach()

    def means(self, parts: int) -> dict[str, torch.Tensor]:
        """The mean loss of a step, to which `parts` batches add up, and other values' mean."""
        return {
            name: total * (parts if name.startswith("loss") else 1) / max(1, self.batches)
            for name, total in self.sums.items()
        }


class _CountEpochs(TrainerCallback):
    """Counts epochs by rows. transformers would see the whole run as one epoch."""

    def __init__(self, plan: ShuffledBatchSampler) -> None:
        self.plan = plan

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        state.epoch = state.global_step / self.plan.steps_per_epoch
