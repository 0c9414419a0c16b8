"""Asks a model about all rows, and writes down what it says."""

import logging
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from training.evaluation.labelled import Data
from training.evaluation.model import Model
from training.evaluation.predictions import Predictions

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
        with tqdm(total=data.count, initial=done, unit="row", disable=None) as progress:
            for record in model.answers(islice(data.read(), done, None)):
                predictions.append(record)
                progress.update()
