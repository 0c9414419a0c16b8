"""Finds the recipe that fits rows and this machine, with the facts that led to it."""

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from tasks.task import LabelField, Task
from training.config import DistillConfig
from training.data.load import load_rows
from training.data.load_report import LoadReport
from training.data.row import DataError, Row
from training.data.splits import Splits, load_splits
from training.run.student import load_student, student_texts
from training.start.base import Base, choose_base
from training.start.labels import Labels, count_labels
from training.start.lengths import Lengths, measure_lengths
from training.start.origin import data_keys, read_origin
from training.start.pace import Pace, measure_pace
from training.start.roles import Roles, guess_roles
from training.start.settings import from_scratch, of_pretrained
from training.start.student import student_like, vocabulary_for
from training.start.survey import survey_rows
from training.start.task import CHOICES, column_keys, label_keys, repeated_field, task_keys
from training.yaml_files import validated

HOUR: Final = 3600  # seconds: a first run should not take longer
EXAMPLES: Final = 10_000  # of the training rows, whose texts are measured
FEWEST: Final = 10  # rows with a label
PART: Final = 4  # a pretrained student's step is measured on a CPU by a part of its rows


@dataclass(frozen=True)
class Wishes:
    """What a user says, in place of a guess. None: guess."""

    rows: str
    name: str
    validation: str | None = None
    test: str | None = None
    label: str | None = None
    fields: list[str] | None = None
    rationale: list[str] | None = None  # empty: none
    model: str | None = None


@dataclass(frozen=True)
class FirstRecipe:
    """The keys of a recipe, and the facts that led to them."""

    content: dict[str, Any]
    roles: Roles
    labels: Labels
    report: LoadReport
    base: Base
    lengths: dict[str, Lengths]  # of inputs, labels and rationales
    splits: Splits
    parameters: int
    pace: Pace
    shortened: bool  # to an hour

    @property
    def config(self) -> DistillConfig:
        return _config(self.content)

    @property
    def minutes(self) -> float:
        """How long the run will take on this machine when idle."""
        seconds = self.pace.seconds(self.config, len(self.splits.validation))
        return seconds / 60


def find_recipe(wishes: Wishes) -> FirstRecipe:
    """The recipe for these rows, and what was found. Raises DataError and ConfigError."""
    origin = data_keys(wishes.rows, wishes.validation, wishes.test)
    survey = survey_rows(wishes.rows, read_origin(origin))
    roles = guess_roles(survey, wishes.label, wishes.fields, wishes.rationale)
    gpu = torch.cuda.is_available()
    base = choose_base(wishes.model, gpu=gpu)
    data = origin | ({"columns": columns} if (columns := column_keys(roles)) else {})
    data |= {"labels": "teacher"} if roles.learn_teacher else {}
    task = task_keys(wishes.name, roles)
    content: dict[str, Any] = {
        "name": wishes.name,
        "task": task,
        "data": data,
        "model": base.name or "",
        "license": "other",  # only its user knows what the data allow
        "validation_rows": 1,
        "output_dir": f"runs/{wishes.name}",
    }
    rows, report = _load(content, roles)
    labels = count_labels(rows, learn_teacher=roles.learn_teacher)
    explained = bool(roles.rationale) and any(row.rationales for row in rows)
    if len(labels.counts) == 1 and not roles.choices:
        raise DataError(
            f"{report.source}: the column {roles.label!r} has one label only, {labels.all[0]!r}: "
            "there is nothing to learn; bring rows with other labels, or give --label"
        )
    task |= label_keys(labels, roles, scratch=base.name is None)
    if explained and base.name is None:
        task["explain_given_label"] = True
    if not explained:
        content["objective"] = "finetune"
    content["validation_rows"] = _held_out(len(rows), wishes.validation)
    names = [*roles.fields]
    if not wishes.validation and (field := repeated_field(rows, names, content["validation_rows"])):
        data["group_by"] = "{{" + field + "}}"

    splits = load_splits(_config(content))
    some = _some(splits)
    texts = student_texts(_config(content).task, some.train)
    if base.name is None:
        settings = from_scratch(len(splits.train), vocabulary_for(texts), gpu=gpu)
        content["model"] = {"scratch": settings.geometry}
        student = load_student(_config(content), texts)
    else:
        settings = of_pretrained(len(splits.train), gpu=gpu)
        student = student_like(base.name)
    config = _config(content | settings.keys())
    lengths = measure_lengths(config.task, some.train, student.tokenizer)
    limits = {f"max_{name}_tokens": found.limit for name, found in lengths.items()}
    parameters = student.model.num_parameters()
    part = 1 if base.name is None or gpu else PART
    pace = measure_pace(config.model_copy(update=limits), some, student, part)
    fitting = settings.within(HOUR, pace.step)
    content |= fitting.keys() | limits
    return FirstRecipe(
        {key: content[key] for key in DistillConfig.model_fields if key in content},
        roles,
        labels,
        report,
        base,
        lengths,
        splits,
        parameters,
        pace,
        shortened=fitting.steps < settings.steps,
    )


def _config(content: dict[str, Any]) -> DistillConfig:
    model = content["model"] or "any"  # which is not looked at before it is known
    return validated(DistillConfig, content | {"model": model}, Path(content["data"]["train"]))


def _load(content: dict[str, Any], roles: Roles) -> tuple[list[Row], LoadReport]:
    """All rows, with whatever labels they have."""
    config = _config(content)
    task = config.task
    if roles.choices:
        task = Task(**content["task"], labels=LabelField(field=CHOICES))
    rows, report = load_rows(config.data, task, labelled=not roles.learn_teacher)
    if roles.learn_teacher:
        rows = [row for row in rows if row.teacher_label is not None]
    if len(rows) < FEWEST:
        raise DataError(f"{report}: {len(rows)} rows with a label are too few; bring {FEWEST}")
    return rows, report


def _held_out(rows: int, validation: str | None) -> int:
    """How many rows choose the best step: a tenth, of few rows up to a fifth."""
    if validation is not None:
        return 1000
    return min(max(rows // 10, min(50, rows // 5)), 1000)


def _some(splits: Splits) -> Splits:
    """The splits with no more than EXAMPLES to train on, drawn from all."""
    if len(splits.train) <= EXAMPLES:
        return splits
    return replace(splits, train=random.Random(0).sample(splits.train, EXAMPLES))
