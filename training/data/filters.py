"""Filters: leave training rows or rationales out, and count each with its reason."""

import random
from collections.abc import Callable
from dataclasses import replace

from tasks.task import Task
from training.data.load_report import LoadReport
from training.data.row import DataError, Row
from training.data.sources import Filters, Labels


def filter_rows(
    rows: list[Row],
    filters: Filters,
    task: Task,
    report: LoadReport,
    *,
    labels: Labels = "gold",
    seed: int = 0,
) -> list[Row]:
    """The rows that the recipe's filters keep, some of them with fewer rationales.

    Lengths are in characters, because the tokenizer may be trained on these rows later. Of rows
    with the same input, the first is kept. `labels` says which labels `max_per_label` counts; rows
    are drawn by `seed`. Raises DataError.
    """
    if filters.teacher_correct:
        rows = _teacher_correct(rows, filters.teacher_correct == "row", task, report)
    if (least := filters.min_agreement) is not None:
        rows = _agreed(rows, least, report)
    if filters.leaks:
        rows = _without_leaks(rows, filters.leaks, report)
    if (limit := filters.max_input_characters) is not None:
        rows = _short_inputs(rows, limit, task, report)
    if (limit := filters.max_rationale_characters) is not None:
        rows = _short_rationales(rows, limit, report)
    if filters.duplicates:
        rows = _first_of_each_input(rows, task, report)
    if (limit := filters.max_per_label) is not None:
        rows = _balanced(rows, limit, labels, seed, report)
    return rows


def _teacher_correct(rows: list[Row], whole: bool, task: Task, report: LoadReport) -> list[Row]:
    if not any(row.teacher_label for row in rows):
        raise DataError(f"{report.source}: filters.teacher_correct, but no row has a teacher_label")
    kept = []
    for row in rows:
        if row.teacher_label is None or row.label is None:
            reason = f"row without a {'label' if row.label is None else 'teacher_label'} to judge"
        elif not task.is_right(row.teacher_label, row.label):
            reason = "row whose teacher_label is wrong"
        else:
            kept.append(row)
            continue
        if whole:
            report.drop(reason, row.place)
        else:
            kept.append(_without_rationales(row, reason, report))
    return kept


def _without_rationales(row: Row, reason: str, report: LoadReport) -> Row:
    if not row.rationales:
        return row
    report.note(f"{reason}: rationale left out", row.place)
    report.without_rationale += 1
    return replace(row, rationales=())


def _agreed(rows: list[Row], least: float, report: LoadReport) -> list[Row]:
    if all(row.agreement is None for row in rows):
        raise DataError(f"{report.source}: filters.min_agreement, but no row has an agreement")
    kept = []
    for row in rows:
        if row.agreement is None:
            report.drop("row without an agreement", row.place)
        elif row.agreement < least:
            report.drop(f"row with an agreement below {least:g}", row.place)
        else:
            kept.append(row)
    return kept


def _without_leaks(rows: list[Row], leaks: list[str], report: LoadReport) -> list[Row]:
    folded = [leak.casefold() for leak in leaks]
    return _with_rationales(
        rows,
        lambda text: not any(leak in text.casefold() for leak in folded),
        "rationale with a text of filters.leaks",
        report,
    )


def _short_inputs(rows: list[Row], limit: int, task: Task, report: LoadReport) -> list[Row]:
    kept = []
    for row in rows:
        if len(task.render(row.input)) <= limit:
            kept.append(row)
        else:
            report.drop(f"input over {limit} characters", row.place)
    return kept


def _short_rationales(rows: list[Row], limit: int, report: LoadReport) -> list[Row]:
    reason = f"rationale over {limit} characters"
    return _with_rationales(rows, lambda text: len(text) <= limit, reason, report)


def _with_rationales(
    rows: list[Row], good: Callable[[str], bool], reason: str, report: LoadReport
) -> list[Row]:
    """The rows with their good rationales only. `reason` says why a rationale is not good."""
    kept = []
    for row in rows:
        rationales = tuple(filter(good, row.rationales))
        if len(rationales) < len(row.rationales):
            report.note(f"{reason}: left out", row.place)
            report.without_rationale += not rationales
        kept.append(replace(row, rationales=rationales))
    return kept


def _first_of_each_input(rows: list[Row], task: Task, report: LoadReport) -> list[Row]:
    first: dict[str, Row] = {}
    for row in rows:
        same = first.setdefault(task.render(row.input), row)
        if same is row:
            continue
        known = same.label or same.teacher_label or ""
        agrees = task.is_right(row.label or row.teacher_label or "", known)
        report.drop("duplicate input" if agrees else "duplicate input, another label", row.place)
    return list(first.values())


def _balanced(
    rows: list[Row], limit: int, labels: Labels, seed: int, report: LoadReport
) -> list[Row]:
    of_label: dict[str | None, list[int]] = {}
    for number, row in enumerate(rows):
        label = row.label if labels == "gold" else row.teacher_label
        of_label.setdefault(label, []).append(number)
    rng = random.Random(seed)
    drawn = {
        number
        for numbers in of_label.values()
        for number in rng.sample(numbers, min(limit, len(numbers)))
    }
    for number, row in enumerate(rows):
        if number not in drawn:
            report.drop(f"row beyond {limit} of its label", row.place)
    return [rows[number] for number in sorted(drawn)]
