"""The task that a first recipe describes."""

from collections import Counter
from typing import Any

from training.data.row import Row
from training.data.splits import masked
from training.start.labels import Labels
from training.start.roles import Roles

CHOICES = "choices"  # the field of the labels that a row brings


def task_keys(name: str, roles: Roles) -> dict[str, Any]:
    """The task's keys that the columns decide: its fields and their template."""
    fields = [*roles.fields, *([CHOICES] if roles.choices else [])]
    if len(fields) == 1:
        template = "{{" + fields[0] + "}}"
    else:
        template = "\n".join(f"{_title(name)}: {{{{{name}}}}}" for name in roles.fields)
        if roles.choices:
            template += "\nChoices:{% for choice in choices %}\n- {{choice}}{% endfor %}"
    return {"name": name, "fields": fields, "template": template}


def label_keys(labels: Labels, roles: Roles, *, scratch: bool) -> dict[str, Any]:
    """The task's keys that its labels decide."""
    if roles.choices:
        return {"labels": {"field": CHOICES}}
    if labels.closed:
        return {"labels": labels.all}
    if labels.equations:
        return {"labels": "open", "answer": "arithmetic"} | (
            {"numbers": "masked"} if scratch else {}
        )
    return {"labels": "open"}


def column_keys(roles: Roles) -> dict[str, str | list[str]]:
    """`columns` of the recipe: where a field, or another value, has another name in the rows."""
    columns: dict[str, Any] = dict(roles.fields)
    if roles.choices:
        columns[CHOICES] = roles.choices[0] if len(roles.choices) == 1 else roles.choices
    if not roles.learn_teacher:
        columns["label"] = roles.label
    teacher = roles.label if roles.learn_teacher else roles.teacher_label
    if teacher is not None:
        columns["teacher_label"] = teacher
    if roles.rationale:
        columns["rationale"] = roles.rationale[0] if len(roles.rationale) == 1 else roles.rationale
    return {name: column for name, column in columns.items() if name != column}


def repeated_field(rows: list[Row], fields: list[str], most: int) -> str | None:
    """The field whose texts stand in several rows each, which should stay in one split.

    No group of such rows may be larger than `most`. None if there is no such field.
    """
    found: dict[str, int] = {}
    for name in fields if len(fields) > 1 else ():
        counts = Counter(masked(str(row.input[name])) for row in rows)
        repeated = len(counts) <= 0.8 * len(rows) and max(counts.values()) <= most
        if repeated:
            found[name] = len(counts)
    return min(found, key=lambda name: found[name], default=None)


def _title(field: str) -> str:
    return field.replace("_", " ").capitalize()
