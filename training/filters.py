"""Filters: training rows that are better left out, each counted with its reason."""

from dataclasses import replace

from training.data import DataError, Report, Row
from training.sources import Filters
from training.tasks import Task


def filter_rows(rows: list[Row], filters: Filters, task: Task, report: Report) -> list[Row]:
    """The rows that the recipe's filters keep, some with fewer rationales.

    Lengths are in characters: the tokenizer may yet have to be trained on these very rows. Of
    several rows with the same input the first one is kept, with its label. Raises DataError.
    """
    if filters.teacher_correct:
        rows = _teacher_correct(rows, filters.teacher_correct == "row", task, report)
    if (limit := filters.max_input_characters) is not None:
        rows = _short_inputs(rows, limit, task, report)
    if (limit := filters.max_rationale_characters) is not None:
        rows = _short_rationales(rows, limit, report)
    if filters.duplicates:
        rows = _first_of_each_input(rows, task, report)
    return rows


def _teacher_correct(rows: list[Row], whole: bool, task: Task, report: Report) -> list[Row]:
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


def _without_rationales(row: Row, reason: str, report: Report) -> Row:
    if not row.rationales:
        return row
    report.note(f"{reason}: rationale left out", row.place)
    report.without_rationale += 1
    return replace(row, rationales=())


def _short_inputs(rows: list[Row], limit: int, task: Task, report: Report) -> list[Row]:
    kept = []
    for row in rows:
        if len(task.render(row.input)) <= limit:
            kept.append(row)
        else:
            report.drop(f"input over {limit} characters", row.place)
    return kept


def _short_rationales(rows: list[Row], limit: int, report: Report) -> list[Row]:
    kept = []
    for row in rows:
        short = tuple(text for text in row.rationales if len(text) <= limit)
        if len(short) < len(row.rationales):
            report.note(f"rationale over {limit} characters: left out", row.place)
            report.without_rationale += not short
        kept.append(replace(row, rationales=short))
    return kept


def _first_of_each_input(rows: list[Row], task: Task, report: Report) -> list[Row]:
    first: dict[str, Row] = {}
    for row in rows:
        same = first.setdefault(task.render(row.input), row)
        if same is row:
            continue
        known = same.label or same.teacher_label or ""
        agrees = task.is_right(row.label or row.teacher_label or "", known)
        report.drop("duplicate input" if agrees else "duplicate input, another label", row.place)
    return list(first.values())
