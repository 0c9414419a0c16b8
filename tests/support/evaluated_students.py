"""Students, as checkpoints and as bundles, and rows to evaluate them on, for tests."""

import json
from pathlib import Path
from typing import Any

from export.bundle import Limits
from tasks.task import LabelField, Task
from tests.support.bundles import write_bundle
from tests.support.tiny_students import Student, problems, save_checkpoint
from training.evaluate import main
from training.evaluation.predictions import read_predictions
from training.evaluation.record import Record

LIMITS = Limits(input_tokens=48, label_tokens=12, rationale_tokens=24)
LABELS = ["yes", "no", "( 3 + 1 )", "( 3 + 10 )", "not at all"]
TASKS = {
    "open": Task(name="open", fields=["text"], template="{{text}}", answer="arithmetic"),
    "masked": Task(
        name="masked", fields=["text"], template="{{text}}", answer="arithmetic", numbers="masked"
    ),
    "closed": Task(name="closed", fields=["text"], template="Q: {{text}}", labels=LABELS),
    "explained": Task(
        name="explained",
        fields=["text"],
        template="{{text}}",
        labels=LABELS,
        explain_given_label=True,
    ),
    "choices": Task(
        name="choices",
        fields=["text", "options"],
        template="{{text}}{% for option in options %}\n- {{option}}{% endfor %}",
        labels=LabelField(field="options"),
    ),
}


def write_rows(path: Path, kind: str, count: int) -> Path:
    """Writes rows of a kind of task. Some are too long, and some have a choice twice."""
    with path.open("w", encoding="utf-8") as file:
        for i, text in enumerate(problems(count)):
            row: dict[str, Any] = {"text": text, "label": LABELS[i % len(LABELS)]}
            if i % 7 == 3:
                row["text"] = f" {text} He isn't — « naïve » . " * 4
            if kind == "choices":
                row["options"] = [f" {text[:6]} ", *LABELS[i % 5 :], *LABELS[: i % 5 + 1]]
            if TASKS[kind].answer:
                row["label"] = f"( {i} + 1 )"
            if i % 2:
                row["rationale"] = f"Because of {i}."
            file.write(json.dumps(row) + "\n")
    return path


def write_checkpoint(folder: Path, student: Student, kind: str, limits: Limits = LIMITS) -> Path:
    task = TASKS[kind].model_dump(exclude={"examples"})
    return save_checkpoint(
        student,
        folder,
        name=kind,
        task=task,
        **{f"max_{name}": limit for name, limit in limits.model_dump().items()},
    )


def write_bundle_of(folder: Path, student: Student, kind: str) -> Path:
    write_bundle(folder, student, name=kind, task=TASKS[kind], limits=LIMITS)
    return folder


def evaluated(out: Path, *arguments: object) -> list[Record]:
    assert main([*map(str, arguments), "--out", str(out)]) == 0
    return [*read_predictions(out)]
