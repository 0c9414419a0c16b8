"""Loads a distilled student, with the inputs for the parity gate and the golden examples."""

import reprlib
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from tasks.calibration import Calibration
from tasks.task import Fields
from training.student.files import (
    EXAMPLES,
    RECORD,
    Example,
    StudentError,
    StudentRecord,
    read_calibration,
    read_examples,
    read_record,
)
from training.student.load import load_pretrained
from training.student.unpadded import UnpaddedT5

GOLDEN_EXAMPLES = 4  # at most


@dataclass(frozen=True)
class Checkpoint:
    """A student, with examples for the parity gate and inputs for the golden examples."""

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
    model, tokenizer, _ = load_pretrained(folder)
    golden = _golden(folder, record, inputs, tokenizer)
    calibration = read_calibration(folder)
    return Checkpoint(model.eval(), tokenizer, record, examples, golden, calibration)


def _golden(
    folder: Path,
    record: StudentRecord,
    inputs: list[Fields],
    tokenizer: PreTrainedTokenizerFast,
) -> list[Fields]:
    """The golden inputs: the recipe's examples, or the first of `inputs` that are short enough."""

    def fits(fields: Fields) -> bool:
        text = record.task.codec(record.task.render(fields)).text
        prompts = [one.prefix + text for one in record.passes]
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
