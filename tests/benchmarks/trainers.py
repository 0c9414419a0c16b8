"""The trainers, each in a process of its own: Duet's, and the usual ways beside it."""

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import psutil
import torch
from transformers import (
    DataCollatorForSeq2Seq,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    TrainerCallback,
)
from transformers.trainer_callback import PrinterCallback

from training.config import DistillConfig
from training.data.batch_sampler import ShuffledBatchSampler
from training.data.batches import TwoPassCollator, tokenize
from training.data.splits import Splits
from training.objectives import Options
from training.run.student import student_texts
from training.student.load import train_tokenizer
from training.student.passes import Pass
from training.student.unpadded import UnpaddedT5
from training.trainer import TwoPassTrainer

Side = Literal["Duet", "two forwards", "Seq2SeqTrainer"]
OPTIONS = Options(detach="predict")
WARM_UP = 1  # steps before the clock starts


@dataclass(frozen=True)
class Turn:
    seconds: float  # of a step, on average
    losses: list[float]  # of every step, the first ones too
    peak: int  # most bytes of the process, beyond what it had before it trained


class Trained:
    """Trains some steps in every turn, from the same weights and on the same batches."""

    def __init__(
        self,
        side: Side,
        objective: str,
        config: DistillConfig,
        splits: Splits,
        shape: dict[str, Any],
        vocabulary: int | None,
        batch_size: int,
    ) -> None:
        self.side = side
        self.objective = objective
        assert not isinstance(config.model, str)
        texts = student_texts(config.task, splits.train)
        self.tokenizer = train_tokenizer(texts, config.model.scratch.vocab_size)
        self.rows = tokenize(config, splits.train, self.tokenizer)
        self.config = T5Config(
            **shape,
            vocab_size=vocabulary or len(self.tokenizer),
            dropout_rate=0.0,  # so that losses can be compared
            decoder_start_token_id=0,
        )
        self.batch_size = batch_size
        self.resident = 0

    def turn(self, steps: int) -> Turn:
        with TemporaryDirectory() as folder:
            trainer = self._trainer(Path(folder), steps + WARM_UP)
            steps_seen = _Steps()
            trainer.add_callback(steps_seen)
            trainer.remove_callback(PrinterCallback)
            self.resident = self.resident or psutil.Process().memory_info().rss
            trainer.train()
        times = steps_seen.times[WARM_UP - 1 :]
        seconds = [after - before for before, after in pairwise(times)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - self.resident
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        return Turn(sum(seconds) / len(seconds), losses, peak)

    def _trainer(self, folder: Path, steps: int) -> Seq2SeqTrainer:
        torch.manual_seed(0)
        arguments = Seq2SeqTrainingArguments(
            output_dir=str(folder),
            max_steps=steps,
            per_device_train_batch_size=self.batch_size,
            learning_rate=1e-3,
            optim="adamw_torch_fused",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        plan = ShuffledBatchSampler([1] * len(self.rows), steps=steps, batch_size=self.batch_size)
        common: dict[str, Any] = {"args": arguments, "train_dataset": self.rows}
        if self.side == "Duet":
            return TwoPassTrainer(
                UnpaddedT5(self.config),
                data_collator=TwoPassCollator(0, 0),
                objective=self.objective,
                options=OPTIONS,
                plan=plan,
                **common,
            )
        model = T5ForConditionalGeneration(self.config)
        if self.side == "two forwards":
            collator: Any = TwoPassCollator(0, 0)
            return _TwoForwards(
                model, plan, objective=self.objective, data_collator=collator, **common
            )
        padding = DataCollatorForSeq2Seq(self.tokenizer, model, label_pad_token_id=-100)
        return _OnTheSameBatches(model, plan, data_collator=_PredictAlone(padding), **common)


class _Steps(TrainerCallback):
    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.times.append(time.perf_counter())


class _OnTheSameBatches(Seq2SeqTrainer):
    """transformers' trainer with the batches of Duet's trainer."""

    def __init__(
        self, model: T5ForConditionalGeneration, plan: ShuffledBatchSampler, **kwargs: Any
    ) -> None:
        super().__init__(model, **kwargs)
        self.plan = plan

    def get_train_dataloader(self) -> Any:
        assert self.train_dataset is not None
        return torch.utils.data.DataLoader(
            self.train_dataset, batch_sampler=self.plan, collate_fn=self.data_collator
        )


class _TwoForwards(_OnTheSameBatches):
    """The usual loop of two tasks: each pass is padded to its longest row, and has a forward."""

    def __init__(self, *args: Any, objective: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.objective = objective

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        passes = []
        for batch in (inputs["predict"], inputs["explain"]):
            output = model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                labels=batch["labels"],  # transformers' cross-entropy comes with the forward
            )
            passes.append((output.loss, Pass(output.logits, batch["labels"])))
        (label, predict), (rationale, explain) = passes
        loss = OPTIONS.alpha * label + (1 - OPTIONS.alpha) * rationale
        if self.objective == "dss":
            return loss
        log_p, log_q = _reduced(predict).detach(), _reduced(explain)
        term = -(log_p.exp() * log_q).sum(dim=-1)[explain.has_targets].mean()
        return loss + OPTIONS.beta * term


def _reduced(one: Pass) -> torch.Tensor:
    assert one.logits is not None
    log_probs = one.logits.log_softmax(dim=-1)
    log_probs = log_probs.masked_fill(~one.targets.unsqueeze(-1), torch.finfo(torch.float).min)
    return log_probs.amax(dim=1).log_softmax(dim=-1)


@dataclass(frozen=True)
class _PredictAlone:
    """The usual collator, for the predict pass of the rows."""

    collator: DataCollatorForSeq2Seq

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> Any:
        return self.collator(
            [{"input_ids": row["predict_input"], "labels": row["label"]} for row in rows]
        )
