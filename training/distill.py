"""Distils a student: `python training/distill.py RECIPE.yaml [key=value …]`.

On several processes: `torchrun --nproc-per-node N training/distill.py RECIPE.yaml …`.
"""

import argparse
import logging
import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import safe_open
from scipy.stats import binomtest
from transformers import EarlyStoppingCallback, Seq2SeqTrainingArguments

from training.config import DistillConfig, dump_config, load_config
from training.data.batch_sampler import ShuffledBatchSampler
from training.data.batches import TokenizedExamples, TwoPassCollator, tokenize
from training.data.cascade import conclude
from training.data.row import DataError, Example
from training.data.splits import Splits, load_splits
from training.evaluation.sample import AT_THE_END, WHILE_TRAINING, RationaleSample
from training.objectives import Options
from training.run.averaging import mean_weights
from training.run.distributed import leave_group
from training.run.folder import Metrics, Output, step_of
from training.run.interruption import Interrupted, SaveWhenSignalled
from training.run.reporting import reporting
from training.student.load import Student, as_trained, load_student, student_texts
from training.student.rounding import round_weights
from training.student.unpadded import UnpaddedT5
from training.trainer import LabelAccuracy, TwoTaskTrainer
from training.yaml_files import ConfigError

COLLATORS = 2  # processes that pad batches, which takes as long as a GPU's step of a small student

log = logging.getLogger("duet.distill")


def main(argv: list[str] | None = None, prog: str | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog=prog or "distill.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="a.b=1 sets b of a")
    parser.add_argument(
        "--print-config", action="store_true", help="print the whole recipe as YAML, and end"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="go on with a recipe, or data, that differ from those of the run in output_dir",
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    command = prog.split() if prog else ["python", sys.argv[0]]
    status = _run(arguments, shlex.join([*command, *(sys.argv[1:] if argv is None else argv)]))
    leave_group()
    return status


def _run(arguments: argparse.Namespace, command: str) -> int:
    try:
        config = load_config(arguments.recipe, arguments.overrides)
        if arguments.print_config:
            print(dump_config(config), end="")
            return 0
        splits = load_splits(config)
        distill(config, splits, command, arguments.force)
    except (ConfigError, DataError, OSError) as error:
        print(f"distill: {error}", file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt) as stop:
        print(
            "distill: stopped; the same command goes on from the last checkpoint", file=sys.stderr
        )
        return stop.exit_code if isinstance(stop, Interrupted) else 130
    return 0


def distill(config: DistillConfig, splits: Splits, command: str, force: bool = False) -> None:
    """Trains the recipe's student and writes it, with its record, to `output_dir`.

    Goes on from the last checkpoint of the same recipe where there is one, and does nothing where
    its student is there; `force` goes on with a changed one. The step that is kept is the best by
    validation accuracy, or with `average_last` the mean of the last ones; test rows are only
    measured on, at the end. SIGINT and SIGTERM save a checkpoint and raise Interrupted.
    """
    reporter, callbacks = reporting(config.report_to, config.output_dir)
    if config.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(config.early_stopping_patience))
    arguments = _training_arguments(config, reporter)
    if config.cascade:
        splits = replace(
            splits,
            train=[conclude(example) for example in splits.train],
            validation=[conclude(example) for example in splits.validation],
            test=[conclude(example) for example in splits.test],
        )
    output = Output(config, splits, command)
    with arguments.main_process_first():
        if output.claim(force):
            log.info("%s: its student is there; delete it to distil it anew", config.output_dir)
            return
    student = load_student(config, student_texts(config.task, splits.train))
    model, tokenizer = student.model, student.tokenizer

    def tokenized(examples: list[Example]) -> TokenizedExamples:
        rows = tokenize(config, examples, tokenizer)
        for column, count in rows.cut.items():
            if count:
                log.warning("cut at max_%s_tokens: %d of %d texts", column, count, len(rows))
        return rows

    pad_id, start_id = model.config.pad_token_id, model.config.decoder_start_token_id
    assert pad_id is not None
    assert start_id is not None
    train_rows, validation_rows = tokenized(splits.train), tokenized(splits.validation)
    explains = config.objective != "finetune" and any(one.rationale for one in splits.train)

    def sample(size: int) -> RationaleSample:
        return RationaleSample.draw(config, Student(model, tokenizer), splits.validation, size)

    interruption = SaveWhenSignalled()
    trainer = TwoTaskTrainer(
        model=model,
        args=arguments,
        train_dataset=train_rows,
        eval_dataset=validation_rows,
        data_collator=TwoPassCollator(pad_id, start_id, config.task.explain_given_label),
        processing_class=tokenizer,
        compute_metrics=LabelAccuracy(config.task, tokenizer),
        callbacks=[interruption, *callbacks],
        objective=config.objective,
        options=_options(config),
        plan=ShuffledBatchSampler(
            train_rows.sizes("predict" if config.objective == "finetune" else "both"),
            steps=config.steps,
            batch_size=config.batch_size,
            batch_tokens=config.batch_tokens,
            accumulation=config.gradient_accumulation_steps,
            processes=arguments.world_size,
            process=arguments.process_index,
            seed=config.seed,
        ),
        rationales=sample(WHILE_TRAINING) if explains else None,
    )
    if trainer.is_fsdp_enabled:
        if config.weights == "int8":
            raise ConfigError("weights: those that FSDP shards cannot be rounded; set fp32")
        if config.average_last is not None:
            raise ConfigError("average_last: weights that FSDP shards cannot be averaged")
    log.info("%s: %.1f M parameters", config.name, model.num_parameters() / 1e6)
    checkpoints = output.whole_checkpoints()
    checkpoint = str(checkpoints[-1]) if checkpoints else None
    if checkpoint is not None:
        _check_geometry(model, checkpoint)
    with interruption.listening():
        trainer.train(resume_from_checkpoint=checkpoint)

    kept = [trainer.state.best_global_step or trainer.state.global_step]
    if config.average_last is not None:
        # others are of interruptions, which must not change the student
        evaluated = [
            checkpoint
            for checkpoint in output.whole_checkpoints()
            if step_of(checkpoint) % config.eval_every == 0
        ]
        last = evaluated[-config.average_last :]
        kept = [step_of(checkpoint) for checkpoint in last]
        model.load_state_dict(mean_weights(last), strict=False)  # without those that are tied
    if config.weights == "int8":
        round_weights(model)
    trainer.rationales = None
    metrics: Metrics = {"validation": _measure(trainer, validation_rows)}
    if splits.test:
        metrics["test"] = _measure(trainer, tokenized(splits.test))
    if explains:
        rationales = sample(AT_THE_END)
        metrics["rationales"] = {"rows": len(rationales.rows), **rationales.measure()}
    for split, values in metrics.items():
        log.info("%s: %s", split, values)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # by all, where sharded
    if trainer.is_world_process_zero():
        output.write_student(as_trained(model.config, weights), student, metrics, kept)
        shutil.rmtree(output.checkpoints)


def _check_geometry(model: UnpaddedT5, checkpoint: str) -> None:
    with safe_open(Path(checkpoint) / "model.safetensors", "pt") as weights:
        names = weights.keys()
        shapes = {name: tuple(weights.get_slice(name).get_shape()) for name in names}
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    if any(shape != expected.get(name) for name, shape in shapes.items()):
        raise ConfigError(
            f"output_dir: {checkpoint} does not fit this recipe's model; choose another output_dir"
        )


def _options(config: DistillConfig) -> Options:
    known = {name: getattr(config, name) for name in Options._fields}
    return Options(**{name: value for name, value in known.items() if value is not None})


def _training_arguments(config: DistillConfig, reporter: str) -> Seq2SeqTrainingArguments:
    """Raises ConfigError where this machine cannot do what the recipe asks for."""
    gpu = torch.cuda.is_available()
    if config.precision == "bf16" and gpu and not torch.cuda.is_bf16_supported():
        raise ConfigError("precision: this GPU cannot compute in bf16; use fp32")
    # else what a launcher, or an earlier run in this process, left there would decide
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
        # beside the best one those to be averaged, and two of interruptions
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
    )


def _measure(trainer: TwoTaskTrainer, rows: TokenizedExamples) -> dict[str, float]:
    measured = trainer.evaluate(rows)
    accuracy = measured["eval_accuracy"]
    found = binomtest(round(accuracy * len(rows)), len(rows)).proportion_ci(0.95, "wilson")
    figures = {
        "accuracy": round(accuracy, 4),
        "low": round(float(found.low), 4),
        "high": round(float(found.high), 4),
        "exact": round(measured["eval_exact"], 4),
        "rows": len(rows),
    }
    if "eval_mi_bound" in measured:
        figures["mi_bound"] = measured["eval_mi_bound"]
    return figures


if __name__ == "__main__":
    sys.exit(main())
