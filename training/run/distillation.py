"""A distillation from its data to its student: train, choose the weights, measure, write."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Seq2SeqTrainingArguments,
    TrainerCallback,
)
from transformers.utils.logging import disable_progress_bar

from training.config import DistillConfig
from training.data.batch_sampler import ShuffledBatchSampler
from training.data.batches import (
    JudgedExamples,
    TokenizedExamples,
    TwoPassCollator,
    tokenize,
    tokenize_judged,
)
from training.data.cascade import conclude
from training.data.splits import Split, Splits
from training.evaluation.intervals import share_interval
from training.evaluation.label_accuracy import LabelAccuracy
from training.evaluation.labelled import group_of, labelled_examples
from training.evaluation.sample import AT_THE_END, WHILE_TRAINING, RationaleSample
from training.objectives import Options
from training.run.arguments import training_arguments
from training.run.averaging import mean_weights
from training.run.folder import ClaimAtFirstStep, Output, step_of
from training.run.interruption import SaveWhenSignalled
from training.run.last_step import EvaluateLastStep
from training.run.progress import Progress
from training.run.reporting import reporting
from training.run.student import load_student, student_texts
from training.student.files import Metrics
from training.student.load import Student, as_trained
from training.student.rounding import round_weights
from training.student.unpadded import UnpaddedT5
from training.trainer import TwoPassTrainer
from training.yaml_files import ConfigError

log = logging.getLogger("duet.distill")


def distill(
    config: DistillConfig,
    splits: Splits,
    command: str,
    force: bool = False,
    base: Student | None = None,
) -> None:
    """Trains the recipe's student and writes it, with its record, to `output_dir`.

    Continues from the last checkpoint of the same recipe if there is one, and does nothing if the
    student is there already. `force` continues with a changed recipe. It keeps the best step by
    validation accuracy, or with `average_last` the mean of the last ones. Test rows are measured
    at the end alone. SIGINT and SIGTERM save a checkpoint and raise Interrupted. `base` is what
    `load_base` returned, if it was called before.
    """
    reporter, callbacks = reporting(config.report_to, config.output_dir)
    if config.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(config.early_stopping_patience))
    arguments = training_arguments(config, reporter)
    if config.cascade:
        splits = _concluded(splits)
    output = Output(config, splits, command)
    if output.is_finished(force):
        log.info("%s: its student is there; delete it to distil it anew", config.output_dir)
    else:
        with output.opened():
            _distill(config, splits, output, arguments, callbacks, base)


def _distill(
    config: DistillConfig,
    splits: Splits,
    output: Output,
    arguments: Seq2SeqTrainingArguments,
    callbacks: list[TrainerCallback],
    base: Student | None,
) -> None:
    if not (explains := learns_to_explain(config, splits)):
        _warn_of_labels_only(splits)
    student = load_student(config, student_texts(config.task, splits.train), base)
    disable_progress_bar()  # after downloads: transformers 5 has one for each checkpoint
    log.info("%s: %.1f M parameters", config.name, student.model.num_parameters() / 1e6)
    interruption = SaveWhenSignalled()
    judged = _judged(config, splits, student)
    reports = [ClaimAtFirstStep(output), Progress()]
    callbacks = [interruption, EvaluateLastStep(), *reports, *callbacks]
    trainer = trainer_of(
        config, splits, judged["validation"], explains, student, arguments, callbacks
    )
    checkpoint = None
    if checkpoints := output.whole_checkpoints():
        _check_geometry(student.model, checkpoints[-1])
        checkpoint = str(checkpoints[-1])
        log.info("goes on after step %d of %d", step_of(checkpoints[-1]), config.steps)
    with interruption.listening():
        trainer.train(resume_from_checkpoint=checkpoint)

    steps = _choose_weights(config, trainer, student.model, output)
    metrics = _measure_splits(config, trainer, student, splits, judged, explains)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # by all, where sharded
    if trainer.is_world_process_zero():
        output.claim()  # by a forced run that had no step left, for the first time
        trained = as_trained(student.model.config, weights)
        output.write_student(trained, student, metrics, steps, explains)
        shutil.rmtree(output.checkpoints)


def learns_to_explain(config: DistillConfig, splits: Splits) -> bool:
    """Whether the student learns the explain pass from these rows."""
    return config.objective != "finetune" and splits.explained


def _warn_of_labels_only(splits: Splits) -> None:
    why = "objective: finetune learns labels only"
    if not splits.explained:
        why = "no training row has a rationale"
    log.warning(
        "warning: %s: there is no explain pass, and the service will refuse to explain", why
    )


def _concluded(splits: Splits) -> Splits:
    return replace(
        splits,
        train=[conclude(example) for example in splits.train],
        validation=[conclude(example) for example in splits.validation],
        test=[conclude(example) for example in splits.test],
    )


def trainer_of(
    config: DistillConfig,
    splits: Splits,
    validation: JudgedExamples,
    explains: bool,
    student: Student,
    arguments: Seq2SeqTrainingArguments,
    callbacks: list[TrainerCallback],
) -> TwoPassTrainer:
    """The trainer. Raises ConfigError if the recipe does not fit these rows, or FSDP."""
    model, tokenizer = student.model, student.tokenizer
    pad_id, start_id = model.config.pad_token_id, model.config.decoder_start_token_id
    assert pad_id is not None
    assert start_id is not None
    rows = tokenize(config, splits.train, tokenizer)
    _warn_of_cuts(rows)
    trainer = TwoPassTrainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        eval_dataset=validation,
        data_collator=TwoPassCollator(pad_id, start_id, config.task.explain_given_label),
        processing_class=tokenizer,
        compute_metrics=LabelAccuracy(config.task, tokenizer),
        callbacks=callbacks,
        objective=config.objective if explains else "finetune",
        options=_options(config),
        plan=ShuffledBatchSampler(
            rows.sizes("both" if explains else "predict"),
            steps=config.steps,
            batch_size=config.batch_size,
            batch_tokens=config.batch_tokens,
            accumulation=config.gradient_accumulation_steps,
            processes=arguments.world_size,
            process=arguments.process_index,
            seed=config.seed,
        ),
        rationales=RationaleSample.draw(config, student, splits.validation, WHILE_TRAINING)
        if explains
        else None,
    )
    trainer.remove_callback(PrinterCallback)  # Progress stands in its place
    if trainer.is_fsdp_enabled:
        if config.weights == "int8":
            raise ConfigError("weights: those that FSDP shards cannot be rounded; set fp32")
        if config.average_last is not None:
            raise ConfigError("average_last: weights that FSDP shards cannot be averaged")
    return trainer


def _judged(config: DistillConfig, splits: Splits, student: Student) -> dict[Split, JudgedExamples]:
    """The validation rows, and the test rows if there are any. Raises DataError."""
    found: dict[Split, JudgedExamples] = {}
    for split, examples in splits.measured().items():
        found[split] = tokenize_judged(config, examples, student.tokenizer, split)
        _warn_of_cuts(found[split])
    return found


def _warn_of_cuts(rows: TokenizedExamples) -> None:
    for column, count in rows.cut.items():
        if count:
            log.warning("cut at max_%s_tokens: %d of %d texts", column, count, len(rows))


def _options(config: DistillConfig) -> Options:
    known = {name: getattr(config, name) for name in Options._fields}
    return Options(**{name: value for name, value in known.items() if value is not None})


def _check_geometry(model: UnpaddedT5, checkpoint: Path) -> None:
    with safe_open(checkpoint / "model.safetensors", "pt") as weights:
        names = weights.keys()
        shapes = {name: tuple(weights.get_slice(name).get_shape()) for name in names}
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    if any(shape != expected.get(name) for name, shape in shapes.items()):
        raise ConfigError(
            f"output_dir: {checkpoint} does not fit this recipe's model; choose another output_dir"
        )


def _choose_weights(
    config: DistillConfig, trainer: TwoPassTrainer, model: UnpaddedT5, output: Output
) -> list[int]:
    """Gives the model the weights that are kept, rounded if the recipe says so.

    Returns the step of these weights, or the steps whose mean they are.
    """
    steps = [trainer.state.best_global_step or trainer.state.global_step]
    if config.average_last is not None:
        # others are of interruptions, which must not change the student
        evaluated = [
            checkpoint
            for checkpoint in output.whole_checkpoints()
            if step_of(checkpoint) % config.eval_every == 0 or step_of(checkpoint) == config.steps
        ]
        last = evaluated[-config.average_last :]
        steps = [step_of(checkpoint) for checkpoint in last]
        model.load_state_dict(mean_weights(last), strict=False)  # without those that are tied
    if config.weights == "int8":
        round_weights(model)
    return steps


def _measure_splits(
    config: DistillConfig,
    trainer: TwoPassTrainer,
    student: Student,
    splits: Splits,
    judged: dict[Split, JudgedExamples],
    explains: bool,
) -> Metrics:
    """Accuracy on validation and test rows, and the rationales of validation rows."""
    trainer.rationales = None
    metrics: Metrics = {}
    for split, examples in splits.measured().items():
        rows = labelled_examples(examples, config.task, split, group_of(config))
        metrics[split] = _measure(trainer, judged[split], [row.cluster for row in rows])
    if explains:
        rationales = RationaleSample.draw(config, student, splits.validation, AT_THE_END)
        metrics["rationales"] = {"rows": len(rationales.rows), **rationales.measure()}
    return metrics


def _measure(
    trainer: TwoPassTrainer, rows: JudgedExamples, clusters: list[str]
) -> dict[str, float | int | str]:
    measured = trainer.evaluate(rows)
    assert isinstance(trainer.compute_metrics, LabelAccuracy)
    low, high = share_interval(trainer.compute_metrics.right, clusters)
    figures: dict[str, float | int | str] = {
        "accuracy": round(measured["eval_accuracy"], 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "exact": round(measured["eval_exact"], 4),
        "rows": len(rows),
    }
    if "eval_mi_bound" in measured:
        figures["mi_bound"] = measured["eval_mi_bound"]
    return figures
