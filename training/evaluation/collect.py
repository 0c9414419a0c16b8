"""Asks a model about all rows, and keeps its answers."""

import logging
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from training.evaluation.labelled import Data
from training.evaluation.model import Model
from training.evaluation.predictions import Predictions

log = logging.getLogger("duet.evaluation")


def collect(model: Model, data: Data, folder: Path, *, source: str, force: bool = False) -> None:
    """Writes a record of each row to the folder. Goes on where an interrupted run stopped.

    `source` is the name or path by which people know the model. Raises ModelError, DataError,
    OutputError.
    """
    with Predictions(folder) as predictions:
        run = {"model": {"source": source, **model.identity}, "data": data.identity}
        predictions.claim(run, force)
        done = predictions.keep_whole(model.together, data.count)
        if done:
            log.info("goes on after %d of %d rows", done, data.count)
        with tqdm(total=data.count, initial=done, unit="row", disable=None) as progress:
            for record in model.answers(islice(data.read(), done, None)):
                predictions.append(record)
                progress.update()
