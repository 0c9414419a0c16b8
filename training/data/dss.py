"""Reads the data of Distilling Step-by-Step (Hsieh et al., 2023) in the layout of its archive.

`<task>/<task>_<split>.json` holds the rows as JSON lines; `<task>/llm/<split>_CoT_<i>.json` holds
the teacher's raw completions, one a row, in the rows' order, in numbered parts.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.builtin import NLI_LABELS
from tasks.task import Fields, Task
from training.data.completions import Unparsed, choice, one_of, split_at
from training.data.files import read_rows
from training.data.load_report import LoadReport
from training.data.row import DataError, Row, label_of, text_of, texts_of
from training.data.sources import DssSource


@dataclass(frozen=True)
class _Layout:
    """How one of the archive's data sets writes its rows and its completions."""

    label: str
    humans: tuple[str, ...]  # the columns of human rationales
    stop: str  # begins a question that the teacher made up after its answer
    phrase: str  # stands between the rationale and the answer
    parse_answer: Callable[[str, list[str]], str]
    numbered: bool = False  # labels are indices into NLI_LABELS


def _equation(answer: str, labels: list[str]) -> str:
    # one that was cut off has no closed parenthesis
    if not re.search(r"\(.*\)", answer):
        raise Unparsed("completion without an equation")
    return answer


_LAYOUTS = {
    "esnli": _Layout(
        "label",
        ("explanation_1", "explanation_2", "explanation_3"),
        "Premise:",
        "Answer:",
        one_of,
        numbered=True,
    ),
    "anli1": _Layout("label", ("reason",), "Premise:", "So the answer is", one_of, numbered=True),
    "cqa": _Layout("answer", ("abstractive_explanation",), "Q:", "So the answer is", choice),
    "svamp": _Layout("label", (), "Q:", "The answer is", _equation),
}


def load_dss(
    source: DssSource, task: Task, split: str, *, completions: bool = True
) -> tuple[list[Row], LoadReport]:
    """The rows of one split of a data set of the archive, and a report.

    If a completion does not parse, its row has no teacher's label and no rationale; the report
    counts why. If `completions` is False, the split may have no completions. Raises DataError.
    """
    layout = _LAYOUTS.get(task.name)
    if layout is None:
        raise DataError(
            f"no reader for the archive's layout of task {task.name}; there is one for "
            + ", ".join(_LAYOUTS)
        )
    human = source.rationales == "human"
    if human and not layout.humans:
        raise DataError(f"data.rationales: {task.name} has no human rationales in the archive")
    path = source.path / task.name / f"{task.name}_{split}.json"
    placed = list(read_rows(path, "jsonl"))
    texts: list[str] | None = None
    if not human or source.labels == "teacher" or source.filters.teacher_correct:
        texts = _read_completions(source.path / task.name / "llm", split, required=completions)
        if texts is not None and len(texts) != len(placed):
            raise DataError(f"{path}: {len(placed)} rows, but {len(texts)} completions in llm/")
    report, rows = LoadReport(str(path), read=len(placed)), []
    for number, (place, values) in enumerate(placed):
        fields = _fields(values, task, place)
        labels = task.labels_of(fields)
        rationales: tuple[str, ...] = ()
        teacher_label = None
        if texts is not None:
            try:
                rationale, teacher_label = parse_completion(task.name, texts[number], labels)
                rationales = (rationale,)
            except Unparsed as reason:
                report.note(str(reason), place)
        if human:
            humans = [text_of(values.get(name), name, place) for name in layout.humans]
            rationales = tuple(dict.fromkeys(humans))
        report.without_rationale += not rationales
        label = values.get(layout.label)
        if layout.numbered and type(label) is int and label in range(len(NLI_LABELS)):
            label = NLI_LABELS[label]
        label = label_of(label, layout.label, labels, place)
        rows.append(Row(place, fields, label, teacher_label, rationales))
    return rows, report


def parse_completion(task: str, completion: str, labels: list[str] | None) -> tuple[str, str]:
    """The rationale and the label that a completion of the archive holds.

    `labels` are the labels that the row's input can have, or None if they are open. Raises
    Unparsed.
    """
    layout = _LAYOUTS[task]
    rationale, answer = split_at(completion.split(layout.stop)[0], layout.phrase)
    return rationale, layout.parse_answer(answer, labels or [])


def _fields(values: dict[str, Any], task: Task, place: str) -> Fields:
    names = {"text": "input"} if task.name == "svamp" else {}
    fields: Fields = {
        name: text_of(values.get(key := names.get(name, name)), key, place) for name in task.texts
    }
    if task.choices is not None:
        fields[task.choices] = texts_of(values.get(task.choices), task.choices, place)
    return fields


def _read_completions(folder: Path, split: str, *, required: bool) -> list[str] | None:
    parts = sorted(
        folder.glob(f"{split}_CoT_*.json"), key=lambda path: int(path.stem.rpartition("_")[2])
    )
    if not parts and required:
        raise DataError(f"{folder}: there is no {split}_CoT_0.json with the teacher's completions")
    completions: list[str] = []
    for path in parts:
        try:
            part = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: not a JSON list of completions ({error})") from error
        if not isinstance(part, list) or not all(isinstance(text, str) for text in part):
            raise DataError(f"{path}: expected a JSON list of texts")
        completions += part
    return completions if parts else None
