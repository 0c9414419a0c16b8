"""Guesses what each column is: a field of the input, the label, a rationale, or none of these."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from training.data.row import DataError
from training.start.columns import FEW, is_id_name, why_no_text
from training.start.survey import Column, Survey

# Names of columns, the likeliest first.
LABELS: Final = (
    ("label", "gold_label", "gold", "labels"),
    (
        *("target", "answer", "class", "category", "intent", "sentiment", "topic", "equation"),
        *("verdict", "output", "completion", "label_text", "label_name", "answer_key", "rating"),
    ),
)
TEACHER_LABELS: Final = ("teacher_label", "llm_label", "model_label", "predicted_label")
RATIONALES: Final = (
    *("rationale", "explanation", "reason", "reasoning", "why", "justification"),
    *("cot", "chain_of_thought", "thought"),
)
OF_THE_TEACHER: Final = ("agreement", "label_given")  # columns that `duet teach` writes

_NUMBERED = re.compile(r"_?\d+$")
_CHOICE = re.compile(r"(choice|option|answer|ending|candidate|alternative)s?[_ ]?([a-z]|\d+)")
_LABEL_LENGTH = 60  # characters of a label that is found by what the column holds


@dataclass(frozen=True)
class Roles:
    """What the columns of a source are."""

    fields: dict[str, str]  # the column of each text, by the name of its field
    label: str
    rationale: list[str] = field(default_factory=list)  # several columns: several rationales a row
    teacher_label: str | None = None
    choices: list[str] = field(default_factory=list)  # of one list, or one column for each choice
    dropped: dict[str, str] = field(default_factory=dict)  # a column, and why it is not used
    learn_teacher: bool = False  # the labels are the teacher's, as there are no others


def guess_roles(
    survey: Survey,
    label: str | None = None,
    fields: list[str] | None = None,
    rationale: list[str] | None = None,
) -> Roles:
    """The roles of the columns. What is given is not guessed; an empty `rationale` means none.

    Raises DataError where a guess would be arbitrary, with the flag that decides.
    """
    for flag, names in (("--label", [label] if label else []), ("--fields", fields or [])):
        _check(survey, flag, names)
    _check(survey, "--rationale", rationale or [])
    left = dict(survey.columns)
    dropped: dict[str, str] = {}
    given = {*(fields or ()), *(rationale or ())}
    teacher = _named(left, TEACHER_LABELS, given | {label})
    found = label or _guess_label(survey, given | {teacher}, by_content=teacher is None)
    learn_teacher = found is None
    found = found or teacher
    if found is None:
        raise DataError(
            f"{survey.source}: no column looks like a label; name it by --label. There is "
            f"{', '.join(survey.columns)}"
        )
    for name in {found, teacher} - {None}:
        left.pop(str(name))
    if not survey.columns[found].holds_labels:
        raise DataError(
            f"{survey.source}: the label, {found!r}, is not a text, an integer or a boolean in "
            "each row; name another column by --label"
        )
    reasons = rationale
    if reasons is None:
        reasons = _guess_rationale(survey, left, {*(fields or ())})
    for name in reasons:
        left.pop(name, None)
    for name in [name for name in left if _is_rationale(left[name])] if fields is None else ():
        dropped[name] = "a rationale, but not among --rationale"
        left.pop(name)
    for name in [name for name in left if name in OF_THE_TEACHER]:
        left.pop(name)
    choices = _guess_choices(survey.columns[found], left, fields)
    for name in choices:
        left.pop(name)
    if fields is None:
        texts = []
        for name, column in left.items():
            why = why_no_text(column)
            if why is None and column.tells(survey.columns[found]):
                why = f"it says the same as {found}" if _few(column) else None
            if why is None:
                texts.append(name)
            else:
                dropped[name] = why
        if not texts:
            listed = "; ".join(f"{name}: {why}" for name, why in dropped.items()) or "nothing else"
            raise DataError(
                f"{survey.source}: no column looks like a text to read ({listed}); name the fields "
                "by --fields"
            )
    else:
        texts = [name for name in fields if name not in choices]
        dropped = {name: "not among --fields" for name in left if name not in texts}
        _check_texts(survey, texts)
    return Roles(
        _field_names(texts, "choices" if choices else None),
        found,
        reasons,
        None if learn_teacher else teacher,
        choices,
        dropped,
        learn_teacher,
    )


def _check(survey: Survey, flag: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in survey.columns:
            raise DataError(
                f"{flag}: {survey.source} has no column {name!r}; there is "
                f"{', '.join(survey.columns)}"
            )


def _check_texts(survey: Survey, names: list[str]) -> None:
    for name in names:
        if not survey.columns[name].holds_texts:
            raise DataError(f"--fields: {name!r} does not hold a text in each row of the sample")


def _plain(name: str) -> str:
    """A column's name, as the lists of names have it: `Gold Label` is `gold_label`."""
    last = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.rpartition(".")[2])
    return re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_")


def _named(columns: Iterable[str], names: Iterable[str], taken: set[str | None]) -> str | None:
    free = {_plain(column): column for column in columns if column not in taken}
    return next((free[name] for name in names if name in free), None)


def _guess_label(survey: Survey, taken: set[str | None], *, by_content: bool) -> str | None:
    columns = {name: one for name, one in survey.columns.items() if name not in taken}
    columns = {name: one for name, one in columns.items() if one.holds_labels}
    for names in LABELS:
        if found := [one for name, one in columns.items() if _plain(name) in names]:
            return _only(survey, _by_text(found, columns))
    if not by_content:
        return None
    found = [
        one
        for one in columns.values()
        if _few(one) and not is_id_name(one.name) and _plain(one.name) not in RATIONALES
    ]
    return _only(survey, _by_text(found, columns)) if found else None


def _few(column: Column) -> bool:
    """Whether a column repeats a few short values."""
    few = 2 <= len(column.counts) <= min(FEW, len(column.filled) / 5)
    return few and max(len(str(value)) for value in column.counts) <= _LABEL_LENGTH


def _by_text(found: list[Column], columns: dict[str, Column]) -> list[Column]:
    """One of the columns that say the same: a text where there is one, as numbers tell nothing."""
    kept: list[Column] = []
    for column in found:
        named = [column, *(one for one in columns.values() if _is_name_of(one, column))]
        best = next((one for one in named if one.holds_texts), column)
        if not any(best is one or best.tells(one) for one in kept):
            kept.append(best)
    return kept


def _is_name_of(one: Column, number: Column) -> bool:
    plain = _plain(number.name)
    related = _plain(one.name) in (f"{plain}_text", f"{plain}_name", f"{plain}_str")
    return related and one.tells(number)


def _only(survey: Survey, found: list[Column]) -> str:
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise DataError(f"{survey.source}: the label may be {names}; choose by --label")
    return found[0].name


def _guess_rationale(survey: Survey, left: dict[str, Column], taken: set[str]) -> list[str]:
    """The columns of one name, `why`, or of one name with numbers, `why_1` and `why_2`."""
    by_name: dict[str, list[str]] = {}
    for name, column in left.items():
        if name not in taken and _is_rationale(column):
            by_name.setdefault(_NUMBERED.sub("", _plain(name)), []).append(name)
    if len(by_name) > 1:
        names = ", ".join(name for names in by_name.values() for name in names)
        raise DataError(
            f"{survey.source}: the rationale may be {names}; choose by --rationale, several "
            "with commas between them"
        )
    return next(iter(by_name.values()), [])


def _is_rationale(column: Column) -> bool:
    """Whether a column is named as one, and holds texts or lists of texts."""
    plain = _NUMBERED.sub("", _plain(column.name))
    known = plain in RATIONALES or plain.removesuffix("s") in RATIONALES
    known = known or plain.endswith(("_rationale", "_explanation"))
    return known and (column.holds_texts or column.holds_lists)


def _guess_choices(label: Column, left: dict[str, Column], fields: list[str] | None) -> list[str]:
    """The column of lists, or the columns of texts, among which each row has its label."""
    free = {name: one for name, one in left.items() if fields is None or name in fields}
    for name, column in free.items():
        lists = column.holds_lists and column.missing == 0 and len(column.counts) > 1
        if lists and _among(label, column.values):
            return [name]
    several = [
        name for name, one in free.items() if one.holds_texts and _CHOICE.fullmatch(_plain(name))
    ]
    rows = zip(*(free[name].values for name in several), strict=True)
    return several if len(several) > 1 and _among(label, rows) else []


def _among(label: Column, choices: Iterable[Iterable[str | None]]) -> bool:
    return all(
        value is None or value in (one.strip() for one in row if one is not None)
        for value, row in zip(label.values, choices, strict=True)
    )


def _field_names(columns: list[str], taken: str | None) -> dict[str, str]:
    """A name for each column's field that a template can hold, `review_text` for `Review text`."""
    names: dict[str, str] = {}
    for column in columns:
        plain = column if column.isidentifier() else _plain(column)
        name = plain if plain.isidentifier() else f"text_{plain}".strip("_")
        while name in names or name == taken or name in ("label", "teacher_label", "rationale"):
            name += "_text"
        names[name] = column
    return names
