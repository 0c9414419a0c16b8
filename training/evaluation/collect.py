"""Asks a model about all rows, and writes down what it says."""

import logging
from collections.abc import Sequence
from itertools import islice, tee
from pathlib import Path

from tqdm import tqdm

from tasks.task import Task
from training.evaluation.labelled import Data, LabelledRow
from training.evaluation.model import Answer, Model
from training.evaluation.predictions import Predictions
from training.evaluation.record import Record

log = logging.getLogger("duet.evaluation")


def collect(model: Model, data: Data, folder: Path, *, source: str, force: bool = False) -> None:
    """Fills the folder's records, after those that an interrupted run has left there.

    `source` is what people call the model. Raises ModelError, DataError, OutputError.
    """
    with Predictions(folder) as predictions:
        run = {"model": {"source": source, **model.identity}, "data": data.identity}
        predictions.claim(run, force)
        done = predictions.keep_whole(model.together, data.count)
        if done:
            log.info("goes on after %d of %d rows", done, data.count)
        rows, asked = tee(islice(data.read(), done, None))
        with tqdm(total=data.count, initial=done, unit="row", disable=None) as progress:
            for row, answer in zip(rows, model.answers(asked), strict=True):
                predictions.append(record_of(model.task, row, answer))
                progress.update()


def ask(model: Model, rows: Sequence[LabelledRow]) -> list[Record]:
    """What a model says of a few rows, without a folder. Raises ModelError, DataError."""
    answers = model.answers(rows)
    return [record_of(model.task, row, answer) for row, answer in zip(rows, answers, strict=True)]


def record_of(task: Task, row: LabelledRow, answer: Answer) -> Record:
    return Record(
        index=row.index,
        input=row.input,
        text=row.text,
        gold=row.gold,
        label=answer.label,
        right=task.is_right(answer.label, row.gold),
        exact=answer.label.strip() == row.gold.strip(),
        confidence=answer.confidence,
        probabilities=answer.probabilities,
        rationale=answer.rationale,
        reference=row.reference,
        truncated=answer.truncated,
        cluster=row.cluster,
    )
