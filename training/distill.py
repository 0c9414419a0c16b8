"""Distils a student: `python training/distill.py RECIPE.yaml [key=value …]`."""

import argparse
import json
import logging
import shlex
import shutil
import sys
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import Seq2SeqTrainingArguments

from training.batches import TokenizedExamples, TwoPassCollator
from training.cascade import conclude
from training.config import ConfigError, DistillConfig, dump_config, load_config
from training.data import DataError, Example
from training.objectives import Options
from training.splits import Splits, load_splits
from training.student import Student, load_student
from training.trainer import LabelAccuracy, TwoTaskTrainer

EXPORT_EXAMPLES = 5000  # rows kept beside the student, the validation rows first, for export

log = logging.getLogger("duet.distill")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="distill.py", description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="a.b=1 sets b of a")
    parser.add_argument(
        "--print-config", action="store_true", help="print the whole recipe as YAML, and end"
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        config = load_config(arguments.recipe, arguments.overrides)
        if arguments.print_config:
            print(dump_config(config), end="")
            return 0
        splits = load_splits(config)
        words = [sys.argv[0], *(sys.argv[1:] if argv is None else argv)]
        distill(config, splits, command=shlex.join(["python", *words]))
    except (ConfigError, DataError, OSError) as error:
        print(f"distill: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "distill: stopped; the same command goes on from the last checkpoint", file=sys.stderr
        )
        return 130
    return 0


def distill(config: DistillConfig, splits: Splits, command: str) -> None:
    """Trains the recipe's student and writes it, with its record, to `output_dir`.

    Goes on from the last checkpoint of the same recipe where there is one. The step that is kept
    is the best by validation accuracy; test rows are only measured on, at the end.
    """
    if config.cascade:
        splits = replace(
            splits,
            train=[conclude(example) for example in splits.train],
            validation=[conclude(example) for example in splits.validation],
            test=[conclude(example) for example in splits.test],
        )
    checkpoints = _claim(config, splits)
    student = load_student(config, _texts(config, splits.train))
    model, tokenizer = student.model, student.tokenizer

    def tokenized(examples: list[Example]) -> TokenizedExamples:
        rows = TokenizedExamples(
            examples,
            config.task,
            tokenizer,
            max_input_tokens=config.max_input_tokens,
            max_label_tokens=config.max_label_tokens,
            max_rationale_tokens=config.max_rationale_tokens,
        )
        for column, count in rows.cut.items():
            if count:
                log.warning("cut at max_%s_tokens: %d of %d texts", column, count, len(rows))
        return rows

    pad_id, start_id = model.config.pad_token_id, model.config.decoder_start_token_id
    assert pad_id is not None
    assert start_id is not None
    trainer = TwoTaskTrainer(
        model=model,
        args=_training_arguments(config, checkpoints),
        train_dataset=tokenized(splits.train),
        eval_dataset=tokenized(splits.validation),
        data_collator=TwoPassCollator(pad_id, start_id),
        processing_class=tokenizer,
        compute_metrics=LabelAccuracy(config.task, tokenizer),
        objective=config.objective,
        options=_options(config),
    )
    log.info("%s: %.1f M parameters", config.name, model.num_parameters() / 1e6)
    trainer.train(resume_from_checkpoint=_last_complete(checkpoints))

    metrics = {"validation": _measure(trainer, tokenized(splits.validation), splits.validation)}
    if splits.test:
        metrics["test"] = _measure(trainer, tokenized(splits.test), splits.test)
    for split, values in metrics.items():
        log.info("%s: %s", split, values)
    trainer.save_model(str(config.output_dir))
    _write_record(config, splits, student, metrics, command)
    shutil.rmtree(checkpoints)


def _claim(config: DistillConfig, splits: Splits) -> Path:
    """Makes the output folder this run's, and returns the folder in it for checkpoints.

    Raises ConfigError rather than mix two recipes, or two data sets, in one folder.
    """
    recipe = config.output_dir / "recipe.json"
    run = {"recipe": config.model_dump(mode="json"), "data": splits.fingerprint()}
    mine = (json.dumps(run, indent=2) + "\n").encode()
    if recipe.is_file() and recipe.read_bytes() != mine:
        raise ConfigError(
            f"output_dir: {config.output_dir} holds a student of another recipe or of other data "
            f"(see {recipe}); choose another output_dir, or delete that folder"
        )
    checkpoints = config.output_dir / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    recipe.write_bytes(mine)
    return checkpoints


def _last_complete(checkpoints: Path) -> str | None:
    # a killed run may leave half a checkpoint; trainer_state.json is what is written last
    states = checkpoints.glob("checkpoint-*/trainer_state.json")
    steps = [int(state.parent.name.removeprefix("checkpoint-")) for state in states]
    return str(checkpoints / f"checkpoint-{max(steps)}") if steps else None


def _texts(config: DistillConfig, examples: list[Example]) -> list[str]:
    """All that the student reads and writes, and the labels that it may be asked to choose from."""
    task, texts = config.task, []
    for example in examples:
        text = task.render(example.input)
        choices = None if task.choices is None else task.labels_of(example.input)
        texts += [task.predict_prefix + text, task.explain_prefix + text]
        texts += [*(choices or [example.label]), example.rationale or ""]
    return texts + (task.labels if isinstance(task.labels, list) else [])


def _options(config: DistillConfig) -> Options:
    known = {name: getattr(config, name) for name in Options._fields}
    return Options(**{name: value for name, value in known.items() if value is not None})


def _training_arguments(config: DistillConfig, checkpoints: Path) -> Seq2SeqTrainingArguments:
    return Seq2SeqTrainingArguments(
        output_dir=str(checkpoints),
        max_steps=config.steps,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
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
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="selection",
        include_for_metrics=["loss"],
        greater_is_better=True,
        generation_max_length=config.max_label_tokens,
        remove_unused_columns=False,
        seed=config.seed,
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to="none",
    )


def _measure(
    trainer: TwoTaskTrainer, rows: TokenizedExamples, examples: list[Example]
) -> dict[str, float | int]:
    measured = trainer.evaluate(rows)
    return {
        "accuracy": round(measured["eval_accuracy"], 4),
        "exact": round(measured["eval_exact"], 4),
        "rows": len(examples),
    }


def _write_record(
    config: DistillConfig,
    splits: Splits,
    student: Student,
    metrics: dict[str, dict[str, float | int]],
    command: str,
) -> None:
    """Writes what export must know of the student: `student.json` and `examples.jsonl`."""
    record = {
        "name": config.name,
        "task": config.task.model_dump(),
        "recipe": config.model_dump(mode="json"),
        "seed": config.seed,
        "base_model": config.model if isinstance(config.model, str) else "scratch",
        "vocabulary": {"pieces": len(student.tokenizer), "dropped": student.dropped_pieces},
        "license": config.license,
        "max_input_tokens": config.max_input_tokens,
        "max_label_tokens": config.max_label_tokens,
        "max_rationale_tokens": config.max_rationale_tokens,
        "data": {
            "fingerprint": splits.fingerprint(),
            "train_rows": len(splits.train),
            "validation_rows": len(splits.validation),
            "reports": splits.reports,
        },
        "metrics": metrics,
        "code_version": version("duet"),
        "command": command,
    }
    folder = config.output_dir
    (folder / "student.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    with (folder / "examples.jsonl").open("w", encoding="utf-8") as file:
        for example in (splits.validation + splits.train)[:EXPORT_EXAMPLES]:
            file.write(json.dumps(asdict(example)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
