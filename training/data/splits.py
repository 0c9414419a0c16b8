"""Splits: rows to train on, rows to choose the best step by, and rows to measure on."""

import hashlib
import json
import logging
import random
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Literal

from tasks.task import Task, render_template
from training.config import DistillConfig
from training.data.filters import filter_rows
from training.data.load import load_rows
from training.data.load_report import LoadReport
from training.data.row import DataError, Row
from training.data.sources import FilesSource, Labels
from training.student.files import Example

log = logging.getLogger("duet.data")

Key = Callable[[Row], str]
Split = Literal["validation", "test"]


@dataclass(frozen=True)
class Splits:
    train: list[Example]
    validation: list[Example]
    test: list[Example]
    reports: list[str]  # what was read, and what was left out and why
    trained_on: dict[Split, str] = field(default_factory=dict)  # of rows that are learned from, too

    @property
    def explained(self) -> bool:
        """Whether any training row has a rationale."""
        return any(example.rationale is not None for example in self.train)

    def measured(self) -> dict[Split, list[Example]]:
        """The rows that a student is measured on: to validate and, if there are any, to test."""
        rows: dict[Split, list[Example]] = {"validation": self.validation, "test": self.test}
        return {split: examples for split, examples in rows.items() if examples}

    def fingerprint(self) -> str:
        """SHA-256 of the training and validation rows, in their order."""
        rows = [asdict(example) for example in (*self.train, *self.validation)]
        return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def load_splits(config: DistillConfig) -> Splits:
    """The splits of a recipe's data. Logs what was read, and what was left out and why.

    At most `validation_rows` validation rows come from the source. If it names none, they are held
    out of the training rows. Rows are held out in whole groups, so no input is in two splits.
    Filters come last, and only for training rows: students with other filters are measured on the
    same rows. Rows of validation and test files that are training rows, too, stay, with a warning.
    Raises DataError.
    """
    source, task = config.data, config.task
    labelled = source.labels == "gold" or source.group_test
    rows, report = load_rows(source, task, labelled=labelled)
    reports, notes = [report], []
    test: list[Row] = []
    if source.test is not None:
        test, test_report = load_rows(source, task, "test")
        reports.append(test_report)
    key = group_key(task, source.group_by)
    if source.group_test:
        rows, test = hold_out(rows + test, len(test), config.seed, key)
    elif source.group_by is not None and test:
        groups = set(map(key, rows))
        shared = sum(key(row) in groups for row in test)
        notes.append(f"{shared} of {len(test)} test rows are of a group with training rows")
    rows = _with_label(rows, source.labels, report)
    if source.validation is not None:
        validation, own = load_rows(source, task, "validation", labelled=source.labels == "gold")
        validation = _with_label(validation, source.labels, own)
        reports.append(own)
        if len(validation) > config.validation_rows:
            validation = random.Random(config.seed).sample(validation, config.validation_rows)
    else:
        rows, validation = hold_out(rows, config.validation_rows, config.seed, key)
    rows = filter_rows(rows, source.filters, task, report, labels=source.labels, seed=config.seed)
    train_only: list[Row] = []
    if source.train_only is not None:
        read, train_only_report = load_rows(
            FilesSource(format="jsonl", train=source.train_only), task
        )
        held_out = {key(row) for row in validation + test}
        train_only = [row for row in read if key(row) not in held_out]
        dropped = len(read) - len(train_only)
        notes.append(f"{train_only_report}; {dropped} are of a group with validation or test rows")
    if not rows or not validation:
        raise DataError(f"{report}: no {'validation' if rows else 'training'} rows are left")
    trained_on: dict[Split, str] = {}
    if source.validation is not None or test:
        learned = {task.render(row.input) for row in rows + train_only}
        measured: dict[Split, list[Row]] = {"validation": validation, "test": test}
        for split, some in measured.items():
            if again := [row for row in some if task.render(row.input) in learned]:
                trained_on[split] = _trained_on(again, len(some), split)
    notes = [*map(str, reports), *notes, *(f"warning: {one}" for one in trained_on.values())]
    for note in notes:
        log.info("%s", note)
    train = examples_of(rows, source.labels, source.max_rationales)
    return Splits(
        train + examples_of(train_only, "gold", source.max_rationales),
        examples_of(validation, source.labels, 1),
        examples_of(test, "gold", 1),
        notes,
        trained_on,
    )


def examples_of(rows: list[Row], labels: Labels, max_rationales: int | None) -> list[Example]:
    """An example for each rationale of a row, up to `max_rationales`, or one without a rationale.

    A row with more rationales thus repeats its label more often.
    """
    examples = []
    for row in rows:
        label = row.label if labels == "gold" else row.teacher_label
        assert label is not None
        for rationale in row.rationales[:max_rationales] or (None,):
            examples.append(Example(row.input, label, rationale))
    return examples


def hold_out(rows: list[Row], count: int, seed: int, key: Key) -> tuple[list[Row], list[Row]]:
    """The rows as (rest, held out). Groups of rows with the same key are drawn by `seed`.

    At most `count` rows are held out; a group that would exceed it stays in the rest. Raises
    DataError.
    """
    if count >= len(rows):
        raise DataError(
            f"{len(rows)} usable training rows, of which validation_rows would take {count}; "
            "lower validation_rows, or bring more rows"
        )
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    rest: list[Row] = []
    held_out: list[Row] = []
    for group in random.Random(seed).sample(list(groups.values()), len(groups)):
        fits = len(held_out) + len(group) <= count
        (held_out if fits else rest).extend(group)
    if not held_out:
        raise DataError(f"none of the {len(groups)} groups of rows has {count} rows or fewer")
    return rest, held_out


def group_key(task: Task, template: str | None) -> Key:
    """The key that rows of one group share: the rendered input, or the template's masked text."""

    def key(row: Row) -> str:
        if template is None:
            return task.render(row.input)
        try:
            return masked(render_template(template, row.input))
        except Exception as error:  # a template is data: it may raise whatever it likes
            raise DataError(f"{row.place}: data.group_by fails: {error}") from error

    return key


def masked(text: str) -> str:
    """The text in lower case, with single spaces, and with each number replaced by `<number>`."""
    return " ".join(re.sub(r"\d+(?:[.,]\d+)*", "<number>", text).casefold().split())


def _trained_on(again: list[Row], count: int, split: Split) -> str:
    """A sentence about rows of a split, of `count` rows, whose input is a training row's."""
    some = f"{len(again)} of {count} {split} rows"
    if len(again) == 1:
        are, theirs = "is a training row", "its answer says"
    else:
        are, theirs = "are training rows", "their answers say"
    return f"{some} {are} too (first: {again[0].place}): {theirs} nothing about new rows"


def _with_label(rows: list[Row], labels: Labels, report: LoadReport) -> list[Row]:
    if labels == "gold":
        return rows
    kept = []
    for row in rows:
        if row.teacher_label is not None:
            kept.append(row)
            continue
        report.drop("row without a teacher_label", row.place)
        report.without_rationale -= not row.rationales
    if not kept:
        raise DataError(f"{report}: no row can be used")
    return kept
