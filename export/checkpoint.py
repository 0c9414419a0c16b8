"""A distilled student as training leaves it: model, tokenizer, `student.json`, `examples.jsonl`.

Evaluation may have left its temperature beside it, in `calibration.json`.
"""

import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from jinja2 import TemplateError
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    T5ForConditionalGeneration,
)

from export.bundle import Calibration
from tasks.task import Fields, Name, Task, texts_in

RECORD = "student.json"
EXAMPLES = "examples.jsonl"
CALIBRATION = "calibration.json"
GOLDEN_EXAMPLES = 4  # at most

Part = TypeVar("Part", bound=BaseModel)


class CheckpointError(Exception):
    """A folder is not a student's checkpoint. The message names the file and the reason."""


class Data(BaseModel, extra="allow"):
    """What the student learnt from."""

    fingerprint: str = Field(description="SHA-256 of the training rows")
    validation_rows: int = Field(gt=0, description="held out: `examples.jsonl` begins with them")


class Recipe(BaseModel, extra="allow"):
    """How the student was distilled. Export needs the inputs that it names to be shown."""

    examples: list[Fields] = []


class Record(BaseModel):
    """What training notes of a student, in `student.json`. Token counts include the end token."""

    name: Name
    task: Task
    recipe: Recipe
    seed: int
    base_model: str
    license: str
    max_input_tokens: int = Field(gt=1)
    max_label_tokens: int = Field(gt=1)
    max_rationale_tokens: int = Field(gt=1)
    data: Data
    metrics: dict[str, dict[str, float | int | str]]
    code_version: str
    command: str = Field(description="the command that distilled the student")


class ExampleRow(BaseModel):
    """A row of `examples.jsonl`: a real input, its right label, and the teacher's rationale."""

    input: Fields
    label: str
    rationale: str | None = None


class Voice(NamedTuple):
    """One of a student's two: the prefix of its prompts, and how long its texts may be."""

    prefix: str
    max_new_tokens: int


@dataclass(frozen=True)
class Checkpoint:
    """A student, with inputs to compare its graphs on and inputs to show."""

    model: T5ForConditionalGeneration
    tokenizer: PreTrainedTokenizerFast
    record: Record
    examples: list[ExampleRow]
    golden: list[Fields]
    calibration: Calibration

    @property
    def validation(self) -> list[ExampleRow]:
        """The examples that the student was not trained on."""
        return self.examples[: self.record.data.validation_rows]

    @property
    def voices(self) -> tuple[Voice, Voice]:
        """That which predicts, and that which explains."""
        record, task = self.record, self.record.task
        return (
            Voice(task.predict_prefix, record.max_label_tokens),
            Voice(task.explain_prefix, record.max_rationale_tokens),
        )


def load_checkpoint(folder: Path) -> Checkpoint:
    """Reads the folder that `training/distill.py` writes. Raises CheckpointError."""
    record = _parse(Record, str(folder / RECORD), _read(folder / RECORD))
    lines = _read(folder / EXAMPLES).rstrip("\n").split("\n")
    examples = [
        _parse(ExampleRow, f"{folder / EXAMPLES}, line {number}", line)
        for number, line in enumerate(lines, 1)
    ]
    inputs = [example.input for example in examples]
    for fields in inputs + record.recipe.examples:
        if not all(map(str.strip, texts_in(fields))):
            raise CheckpointError(f"{folder}: an example has an empty text: {reprlib.repr(fields)}")
        if set(fields) != set(record.task.fields):
            raise CheckpointError(
                f"{folder}: an example has the fields {', '.join(fields)}, but the task "
                f"{record.task.name} has {', '.join(record.task.fields)}"
            )
    try:
        record.task.render(inputs[0])
    except TemplateError as error:
        raise CheckpointError(f"{folder / RECORD}: the task's template fails: {error}") from error
    tokenizer = _load_tokenizer(folder)
    golden = _golden(folder, record, inputs, tokenizer)
    return Checkpoint(
        _load_model(folder), tokenizer, record, examples, golden, _calibration(folder / CALIBRATION)
    )


def _calibration(path: Path) -> Calibration:
    return _parse(Calibration, str(path), _read(path)) if path.exists() else Calibration()


def _golden(
    folder: Path,
    record: Record,
    inputs: list[Fields],
    tokenizer: PreTrainedTokenizerFast,
) -> list[Fields]:
    """The inputs to show: the recipe's own, or the first of `inputs` that a service would take."""

    def fits(fields: Fields) -> bool:
        text = record.task.codec(record.task.render(fields)).text
        prompts = [record.task.predict_prefix + text, record.task.explain_prefix + text]
        return max(map(len, tokenizer(prompts)["input_ids"])) <= record.max_input_tokens

    for fields in record.recipe.examples:
        if not fits(fields):
            raise CheckpointError(
                f"{folder / RECORD}: an example of the recipe has over "
                f"{record.max_input_tokens} tokens: {reprlib.repr(fields)}"
            )
    golden = record.recipe.examples or [fields for fields in inputs if fits(fields)]
    if not golden:
        raise CheckpointError(
            f"{folder / EXAMPLES}: no input has {record.max_input_tokens} tokens or fewer"
        )
    for label in {label for fields in golden for label in record.task.labels_of(fields) or ()}:
        if len(tokenizer(label)["input_ids"]) > record.max_label_tokens:
            raise CheckpointError(
                f"{folder / RECORD}: the label {reprlib.repr(label)} has over "
                f"{record.max_label_tokens} tokens"
            )
    return golden[:GOLDEN_EXAMPLES]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path}: missing; expected a folder that training/distill.py wrote"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error


def _parse(part: type[Part], place: str, text: str) -> Part:
    try:
        return part.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise CheckpointError(f"{place}: {key} {problem['msg']}") from error


def _load_model(folder: Path) -> T5ForConditionalGeneration:
    try:
        kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        if kind != "t5":
            raise CheckpointError(f"{folder}: a model of type {kind!r}, but a student is a 't5'")
        model, loading = T5ForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: no model can be loaded ({_one_line(error)})") from error
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise CheckpointError(
            f"{folder}: the weights lack {missing[0]} and {len(missing) - 1} more"
        )
    for key in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
        if not isinstance(getattr(model.config, key), int):
            raise CheckpointError(f"{folder / 'config.json'}: {key} is missing, or not one number")
    return model.float().eval()


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises nothing more special
        raise CheckpointError(
            f"{folder}: no tokenizer can be loaded ({_one_line(error)})"
        ) from error
    if not tokenizer.is_fast:
        raise CheckpointError(f"{folder}: its tokenizer has no fast form, and a bundle needs one")
    if tokenizer("")["input_ids"] != [tokenizer.eos_token_id]:
        raise CheckpointError(f"{folder}: its tokenizer does not end a text with the end token")
    return tokenizer


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
