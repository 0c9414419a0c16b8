"""Reads the data of Distilling Step-by-Step (Hsieh et al., 2023) in the layout of its archive.

`<task>/<task>_<split>.json` holds the rows as JSON lines; `<task>/llm/<split>_CoT_<i>.json` holds
the teacher's raw completions, one a row, in the rows' order, in numbered parts.
"""

import json
import re
from pathlib import Path

from training.data import DataError, Example, Report, read_rows, text_of
from training.tasks import Task


def load_dss(
    folder: Path, task: Task, split: str, labels: str = "gold"
) -> tuple[list[Example], Report]:
    """Reads one split of one of the archive's data sets; `labels` is "gold" or "teacher".

    A row whose completion does not parse keeps its gold label and has no rationale; it is dropped
    where the teacher's label is asked for. The report counts both. Raises DataError.
    """
    if task.name != "svamp":
        raise DataError(f"no reader for DSS's layout of task {task.name}; there is one for svamp")
    path = folder / task.name / f"{task.name}_{split}.json"
    rows = list(read_rows(path))
    completions = _read_completions(folder / task.name / "llm", split)
    if len(completions) != len(rows):
        raise DataError(f"{path}: {len(rows)} rows, but {len(completions)} completions in llm/")
    report, examples = Report(str(path), read=len(rows)), []
    for (place, row), completion in zip(rows, completions, strict=True):
        parsed = parse_svamp(completion)
        if parsed is None:
            report.reasons["completion without an answer"] += 1
            if labels == "teacher":
                report.dropped += 1
                continue
            report.without_rationale += 1
        rationale, teacher_label = parsed or (None, "")
        label = teacher_label if labels == "teacher" else text_of(row, "label", place)
        examples.append(Example({"text": text_of(row, "input", place)}, label, rationale))
    return examples, report


def parse_svamp(completion: str) -> tuple[str, str] | None:
    """Splits a completion into (rationale, equation); None where it gives no equation.

    The rationale ends at the first "The answer is"; what follows "Q:" is another question that
    the teacher went on to write. A cut-off answer has no closed parenthesis, so no equation.
    """
    own = completion.split("Q:")[0]
    rationale, found, answer = own.partition("The answer is")
    equation = answer.strip().split("\n")[0].strip().rstrip(".").rstrip()
    if not found or not rationale.strip() or not re.search(r"\(.*\)", equation):
        return None
    return rationale.strip(), equation


def _read_completions(folder: Path, split: str) -> list[str]:
    parts = sorted(
        folder.glob(f"{split}_CoT_*.json"), key=lambda path: int(path.stem.rpartition("_")[2])
    )
    if not parts:
        raise DataError(f"{folder}: there is no {split}_CoT_0.json with the teacher's completions")
    completions: list[str] = []
    for path in parts:
        try:
            part = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not a JSON list of completions ({error})") from error
        if not isinstance(part, list) or not all(isinstance(text, str) for text in part):
            raise DataError(f"{path}: expected a JSON list of texts")
        completions += part
    return completions
