"""Splits: the rows that train, those that choose the best step, and those only measured on."""

import hashlib
import json
import logging
import random
from dataclasses import asdict, dataclass

from training.config import DistillConfig, DssData
from training.data import DataError, Example, Report, load_json_lines
from training.dss import load_dss

log = logging.getLogger("duet.data")


@dataclass(frozen=True)
class Splits:
    train: list[Example]
    validation: list[Example]
    test: list[Example]
    reports: list[Report]

    def fingerprint(self) -> str:
        """SHA-256 over the rows that training may look at, in their order."""
        rows = [asdict(example) for example in (*self.train, *self.validation)]
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def load_splits(config: DistillConfig) -> Splits:
    """Loads a recipe's data; its validation rows are held out of the training rows."""
    test: list[Example] = []
    reports: list[Report] = []
    if isinstance(config.data, DssData):
        examples, report = load_dss(config.data.path, config.task, "train", config.data.labels)
        test, test_report = load_dss(config.data.path, config.task, "test")
        reports = [report, test_report]
    else:
        examples, report = load_json_lines(config.data.train, config.task)
        reports = [report]
        if config.data.test is not None:
            test, test_report = load_json_lines(config.data.test, config.task)
            reports.append(test_report)
    for report in reports:
        log.info("%s", report)
    train, validation = hold_out(examples, config.validation_rows, config.seed)
    return Splits(train, validation, test, reports)


def hold_out(examples: list[Example], rows: int, seed: int) -> tuple[list[Example], list[Example]]:
    """Splits into (training, validation) with `rows` validation rows drawn by `seed`."""
    if rows >= len(examples):
        raise DataError(
            f"{len(examples)} usable training rows, of which validation_rows would take {rows}; "
            "lower validation_rows, or bring more rows"
        )
    shuffled = random.Random(seed).sample(examples, len(examples))
    return shuffled[rows:], shuffled[:rows]
