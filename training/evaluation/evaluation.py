"""All measures of the records of an evaluation."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np

from tasks.task import Task
from training.evaluation.accuracy import Accuracy, measure_accuracy
from training.evaluation.calibration import (
    MeasuredCalibration,
    confidence_and_right,
    measure_calibration,
)
from training.evaluation.cases import Case, choose_cases
from training.evaluation.correlation import ScoreAndRight, correlate_with_right
from training.evaluation.estimate import Estimate, bootstrap_mean, gap_estimate
from training.evaluation.faithfulness import Faithfulness, faithfulness
from training.evaluation.health import Health, equals_reference, health_shares, measure_health
from training.evaluation.judge import Judge, Judgement, judge_rationales
from training.evaluation.overlap import Overlap, overlaps
from training.evaluation.record import Record
from training.evaluation.significance import Array
from training.evaluation.temperature import Temperature, tempered

MEANS = (
    "agrees",
    "concludes_gold",
    "input_numbers_used",
    "numbers_grounded",
    "input_words_used",
    "input_names_used",
    "names_grounded",
    "words",
    "repetition",
    "distinct_1",
    "distinct_2",
)  # of `Faithfulness`

log = logging.getLogger("duet.evaluation")

Scores = list[float | None]  # [N], None where a row has none


@dataclass(frozen=True)
class Mean:
    """A mean, and what it is of; None where that is nothing."""

    count: int
    value: float | None


@dataclass(frozen=True)
class Judged:
    """A judge's scores of all rationales: how many got each score from 1 to 5, and their mean."""

    model: str
    scores: dict[int, int]
    unjudged: int
    mean: Estimate


@dataclass(frozen=True)
class Rationales:
    """How good the rationales are.

    `health` and `reference_health` are the `health_shares` of the model's and of the teacher's
    rationales; empty where there are none. `measures` has the mean of each measure of
    `Faithfulness`, over the rationales that have it. `true_statements` is a share of statements.
    `correlations` says how each score of a rationale correlates with being right.
    """

    written: int  # rows with a rationale that is not empty
    health: dict[str, float]
    reference_health: dict[str, float]
    equal_reference: Mean
    measures: dict[str, Mean]
    true_statements: Mean
    with_reference: int
    overlap: Overlap | None  # with the teacher's, as one corpus
    signatures: dict[str, str]  # sacrebleu's
    judged: Judged | None
    correlations: dict[str, ScoreAndRight]


@dataclass(frozen=True)
class Evaluation:
    """All measures of N records.

    `overconfidence` is the mean confidence less the share of right rows. `temperature` was fitted
    on validation rows. `calibrated` is the calibration of these rows with it; None if it was fitted
    on them. `seed` draws the cases.
    """

    accuracy: Accuracy
    overconfidence: Estimate
    calibration: MeasuredCalibration
    temperature: Temperature | None
    calibrated: MeasuredCalibration | None
    rationales: Rationales
    cases: list[Case]
    seed: int


def evaluate(
    records: Sequence[Record],
    task: Task,
    *,
    temperature: Temperature | None = None,
    fitted_here: bool = False,
    embedder: str | None = None,
    judge: Judge | None = None,
    judgements: Path | None = None,
    seed: int = 0,
) -> Evaluation:
    """Measures N records, N > 0, of a model of `task`.

    `fitted_here`: the temperature was fitted on these rows. `judge` scores the rationales, and the
    store `judgements` keeps its answers. Raises ValueError where a label is not in its closed set,
    EmbedderError and JudgeError.
    """
    calibration = measure_calibration(records)
    if calibration is None:
        raise ValueError("there are no rows to measure")
    log.info("measures %d rows", len(records))
    measured = [faithfulness(record, task) for record in records]
    health = measure_health(records, task)
    confidence, _ = confidence_and_right(records)
    calibrated = None
    if temperature is not None and temperature.problem is None and not fitted_here:
        fitted = tempered(records, temperature.temperature, temperature.offset)
        calibrated = measure_calibration(fitted)
    return Evaluation(
        accuracy=measure_accuracy(records, task.labels if isinstance(task.labels, list) else None),
        overconfidence=gap_estimate(records, confidence, [record.right for record in records]),
        calibration=calibration,
        temperature=temperature,
        calibrated=calibrated,
        rationales=_rationales(records, task, measured, health, embedder, judge, judgements),
        cases=choose_cases(records, measured, health, seed=seed),
        seed=seed,
    )


def _rationales(
    records: Sequence[Record],
    task: Task,
    measured: Sequence[Faithfulness | None],
    health: Sequence[Health | None],
    embedder: str | None,
    judge: Judge | None,
    judgements: Path | None,
) -> Rationales:
    found = overlaps(records, embedder)
    scores: dict[str, Scores] = {
        "agrees": [None if one is None else _number(one.agrees) for one in measured],
        "true_statements": [
            one.true_statements / one.statements if one is not None and one.statements else None
            for one in measured
        ],
        "chrf": [None if row is None else row.chrf for row in found.rows],
        "similarity": [None if row is None else row.similarity for row in found.rows],
    }
    judged = None
    explained = any(record.rationale is not None for record in records)
    if judge is not None and judgements is not None and explained:
        answers = judge_rationales(records, judge, judgements)
        scores["judge"] = [None if one is None else _number(one.score) for one in answers]
        judged = _judged(judge.model, records, answers)
    statements = sum(one.statements for one in measured if one is not None)
    true = sum(one.true_statements for one in measured if one is not None)
    return Rationales(
        written=sum(bool(record.rationale) for record in records),
        health=health_shares(health),
        reference_health=health_shares(measure_health([*map(_taught, records)], task)),
        equal_reference=_mean([_number(equals_reference(record)) for record in records]),
        measures={
            name: _mean([_number(getattr(one, name)) for one in measured if one is not None])
            for name in MEANS
        },
        true_statements=Mean(statements, true / statements if statements else None),
        with_reference=sum(row is not None for row in found.rows),
        overlap=found.corpus,
        signatures=found.signatures,
        judged=judged,
        correlations={
            name: correlate_with_right(records, column)
            for name, column in scores.items()
            if any(score is not None for score in column)
        },
    )


def _judged(model: str, records: Sequence[Record], answers: Sequence[Judgement | None]) -> Judged:
    scored = [
        (record, answer.score)
        for record, answer in zip(records, answers, strict=True)
        if answer is not None and answer.score is not None
    ]
    scores = [score for _, score in scored]
    return Judged(
        model=model,
        scores={score: scores.count(score) for score in range(1, 6)},
        unjudged=sum(answer is not None and answer.score is None for answer in answers),
        mean=_mean_score([record for record, _ in scored], np.array(scores, float)),
    )


def _mean_score(records: Sequence[Record], scores: Array) -> Estimate:
    return bootstrap_mean(records, scores)


def _taught(record: Record) -> Record:
    """The record, as if the model had said what the teacher said."""
    return replace(record, label=record.gold, rationale=record.reference)


def _number(value: float | bool | None) -> float | None:
    return None if value is None else float(value)


def _mean(values: Sequence[float | None]) -> Mean:
    there = [value for value in values if value is not None]
    return Mean(len(there), fmean(there) if there else None)
