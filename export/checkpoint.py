"""A distilled student, with the inputs that export compares its graphs on and shows."""

import reprlib
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tasks.calibration import Calibration
from tasks.task import Fields
from training.student.load import load_pretrained
from training.student.record import (
    EXAMPLES,
    RECORD,
    Example,
    StudentError,
    StudentRecord,
    read_calibration,
    read_examples,
    read_record,
)
from training.student.unpadded import UnpaddedT5

GOLDEN_EXAMPLES = 4  # at most


@dataclass(frozen=True)
class Checkpoint:
    """A student, with inputs to compare its graphs on and inputs to show."""

    model: UnpaddedT5
    tokenizer: PreTrainedTokenizerFast
    record: StudentRecord
    examples: list[Example]
    golden: list[Fields]
    calibration: Calibration

    @property
    def validation(self) -> list[Example]:
        """The examples that the student was not trained on."""
        return self.examples[: self.record.data.validation_rows]


def load_checkpoint(folder: Path) -> Checkpoint:
    """The student in a folder that `training/distill.py` wrote. Raises StudentError."""
    record, examples = read_record(folder), read_examples(folder)
    inputs = [example.input for example in examples]
    for fields in inputs + record.recipe.examples:
        try:
            record.task.check_example(fields)
        except ValueError as error:
            raise StudentError(f"{folder}: {error}") from error
    try:
        record.task.render(inputs[0])
    except TemplateError as error:
        raise StudentError(f"{folder / RECORD}: the task's template fails: {error}") from error
    model, loaded, _ = load_pretrained(folder)
    tokenizer = _checked(folder, loaded)
    golden = _golden(folder, record, inputs, tokenizer)
    calibration = read_calibration(folder)
    return Checkpoint(model.eval(), tokenizer, record, examples, golden, calibration)


def _checked(folder: Path, tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise StudentError(f"{folder}: its tokenizer has no fast form, and a bundle needs one")
    if tokenizer("")["input_ids"] != [tokenizer.eos_token_id]:
        raise StudentError(f"{folder}: its tokenizer does not end a text with the end token")
    return tokenizer


def _golden(
    folder: Path,
    record: StudentRecord,
    inputs: list[Fields],
    tokenizer: PreTrainedTokenizerFast,
) -> list[Fields]:
    """The inputs to show: those of the recipe, or the first of `inputs` that a service accepts."""

    def fits(fields: Fields) -> bool:
        text = record.task.codec(record.task.render(fields)).text
        prompts = [record.predict.prefix + text, record.explain.prefix + text]
        return max(map(len, tokenizer(prompts)["input_ids"])) <= record.max_input_tokens

    for fields in record.recipe.examples:
        if not fits(fields):
            raise StudentError(
                f"{folder / RECORD}: an example of the recipe has over "
                f"{record.max_input_tokens} tokens: {reprlib.repr(fields)}"
            )
    golden = record.recipe.examples or [fields for fields in inputs if fits(fields)]
    if not golden:
        raise StudentError(
            f"{folder / EXAMPLES}: no input has {record.max_input_tokens} tokens or fewer"
        )
    for label in {label for fields in golden for label in record.task.labels_of(fields) or ()}:
        if len(tokenizer(label)["input_ids"]) > record.max_label_tokens:
            raise StudentError(
                f"{folder / RECORD}: the label {reprlib.repr(label)} has over "
                f"{record.max_label_tokens} tokens"
            )
    return golden[:GOLDEN_EXAMPLES]
