"""The arguments of transformers' trainer for a recipe."""

import os

import torch
from transformers import Seq2SeqTrainingArguments

from training.config import DistillConfig
from training.yaml_files import ConfigError

COLLATORS = 2  # processes that pad batches, which takes as long as a GPU's step of a small student


def training_arguments(config: DistillConfig, reporter: str) -> Seq2SeqTrainingArguments:
    """The trainer's arguments. Raises ConfigError where this machine cannot run the recipe."""
    gpu = torch.cuda.is_available()
    if config.precision == "bf16" and gpu and not torch.cuda.is_bf16_supported():
        raise ConfigError("precision: this GPU cannot compute in bf16; use fp32")
    # else values that a launcher, or an earlier run in this process, left there would decide
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if config.precision == "bf16" else "no"
    return Seq2SeqTrainingArguments(
        output_dir=str(config.output_dir / "checkpoints"),
        run_name=config.name,
        max_steps=config.steps,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        bf16=config.precision == "bf16",
        use_cpu=not gpu,
        optim="adamw_torch_fused",
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        eval_strategy="steps",
        save_strategy="steps",
        logging_strategy="steps",
        eval_steps=config.eval_every,
        save_steps=config.eval_every,
        logging_steps=config.eval_every,
        logging_nan_inf_filter=False,  # it would make every step wait for its loss
        # the best one, those to be averaged, and two of interruptions
        save_total_limit=2 if config.average_last is None else 3 + config.average_last,
        load_best_model_at_end=True,
        metric_for_best_model="selection",
        include_for_metrics=["loss"],
        greater_is_better=True,
        generation_max_length=config.max_label_tokens,
        remove_unused_columns=False,
        restore_callback_states_from_checkpoint=True,  # how long early stopping has been patient
        ddp_find_unused_parameters=False,
        seed=config.seed,
        dataloader_pin_memory=gpu,
        dataloader_num_workers=COLLATORS if gpu else 0,
        report_to=reporter,
        disable_tqdm=True,  # training.run.progress has a bar
    )
