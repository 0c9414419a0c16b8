"""A student's folder: the files beside its model and tokenizer, written and read in one place.

`student.json` says what the student is, and `examples.jsonl` holds rows of its data. Evaluation
may add `calibration.json`: the temperature of its confidence.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from tasks.calibration import Calibration
from tasks.durable_files import replace_text
from tasks.task import Fields, Name, TrainedTask

RECORD = "student.json"
EXAMPLES = "examples.jsonl"
CALIBRATION = "calibration.json"

Metrics = dict[str, dict[str, float | int | str]]  # by split; of rationales, under `rationales`
# The faults of a rationale, for people. Their shares are among the metrics of `rationales`.
FAULTS = {
    "bare_label": "only a label, or nothing",
    "glued": "a word glued to a piece of a label",
    "repeats": "a sentence twice, or words in a loop",
    "cut": "the end within a sentence",
    "shared": "the same text for another label",
}
T = TypeVar("T")


class StudentError(ValueError):
    """A student cannot be made or loaded. The message names the model or the file, and why."""


@dataclass(frozen=True)
class Example:
    """What a student learns from: an input's fields, its label, and a rationale if there is one."""

    input: Fields
    label: str
    rationale: str | None = None


class StudentPass(NamedTuple):
    """One of a student's two passes: the prefix of its prompts, and how long its texts may be."""

    prefix: str
    max_new_tokens: int


class StudentInterface(BaseModel):
    """What is needed to ask a student: its task, its limits, and whether it explains.

    Tokens include the end token.
    """

    name: Name
    task: TrainedTask
    max_input_tokens: int = Field(gt=1)
    max_label_tokens: int = Field(gt=1)
    max_rationale_tokens: int = Field(gt=1)
    explains: bool = Field(True, description="whether the student learnt to explain")

    @property
    def passes(self) -> list[StudentPass]:
        """The predict pass, and the explain pass if the student learnt it."""
        return [self.predict, self.explain] if self.explains else [self.predict]

    @property
    def predict(self) -> StudentPass:
        """The pass that gives the label."""
        return StudentPass(self.task.predict_prefix, self.max_label_tokens)

    @property
    def explain(self) -> StudentPass:
        """The pass that gives the rationale."""
        return StudentPass(self.task.explain_prefix, self.max_rationale_tokens)


class Recipe(BaseModel, extra="allow"):
    """The whole recipe of a student, with the inputs that its bundle shows."""

    examples: list[Fields] = []


class Vocabulary(BaseModel):
    """The pieces of a student's tokenizer, and how many `trim_vocab` dropped."""

    pieces: int
    dropped: int


class LearntData(BaseModel, extra="allow"):
    """What a student learnt from. `examples.jsonl` begins with the validation rows."""

    fingerprint: str = Field(description="SHA-256 of the training rows")
    train_rows: int
    validation_rows: int = Field(gt=0)
    reports: list[str] = Field(description="what was read and dropped, by file")


class StudentRecord(StudentInterface):
    """What training notes of a student."""

    recipe: Recipe
    seed: int
    base_model: str = Field(description="name or path of the pretrained model, or `scratch`")
    vocabulary: Vocabulary | None = Field(None, description="older students do not have it")
    license: str
    data: LearntData
    metrics: Metrics
    code_version: str
    command: str = Field(description="the command that distilled the student")


def read_record(folder: Path) -> StudentRecord:
    """The record of the student in a folder. Raises StudentError."""
    path = folder / RECORD
    return _parsed(TypeAdapter(StudentRecord), str(path), _text(path))


def read_examples(folder: Path) -> list[Example]:
    """The rows in a student's folder, at least one. Raises StudentError, which names the line."""
    path, adapter = folder / EXAMPLES, TypeAdapter(Example)
    lines = _text(path).rstrip("\n").split("\n")
    return [_parsed(adapter, f"{path}, line {place}", line) for place, line in enumerate(lines, 1)]


def read_calibration(folder: Path) -> Calibration:
    """The calibration of the student in a folder, or the default one. Raises StudentError."""
    path = folder / CALIBRATION
    if not path.exists():
        return Calibration()
    return _parsed(TypeAdapter(Calibration), str(path), _text(path))


def write_record(folder: Path, record: StudentRecord) -> None:
    replace_text(folder / RECORD, record.model_dump_json(indent=2) + "\n")


def write_examples(folder: Path, examples: Iterable[Example]) -> None:
    with (folder / EXAMPLES).open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(json.dumps(asdict(example)) + "\n")


def write_calibration(folder: Path, calibration: Calibration | None) -> None:
    """Writes a calibration, or with None removes the one that is there."""
    path = folder / CALIBRATION
    if calibration is None:
        path.unlink(missing_ok=True)
    else:
        replace_text(path, calibration.model_dump_json(indent=2) + "\n")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        message = f"{path}: missing; expected a folder that training/distill.py wrote"
        raise StudentError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StudentError(f"{path}: cannot be read ({error})") from error


def _parsed(adapter: TypeAdapter[T], place: str, text: str) -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        problem: Any = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise StudentError(": ".join(filter(None, (place, key, problem["msg"])))) from error
