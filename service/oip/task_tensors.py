"""A task's inputs and answers as the tensors of the Open Inference Protocol."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from service.engine.prediction import Input, Prediction
from service.errors import InvalidParameter
from service.oip.tensors import DataType, InputTensor, OutputTensor
from service.schemas import check_inputs
from tasks.task import Task

TEXT: Final = "text"  # also names the field of a task with only one field
PADDING: Final[dict[DataType, str | float]] = {"BYTES": "", "FP64": 0.0}


class Output(NamedTuple):
    """An output tensor: [N], or [N,K] if a prediction gives several values."""

    name: str
    datatype: DataType
    values: Callable[[Prediction], Any]
    dims: int = 1


def outputs_of(task: Task, *, explain: bool) -> dict[str, Output]:
    """The outputs of a model for this task, by name."""
    outputs = [
        Output("label", "BYTES", lambda given: given.label),
        Output("confidence", "FP64", lambda given: given.confidence),
        Output("scores", "FP64", lambda given: [score.score for score in given.scores], 2),
        Output("score_labels", "BYTES", lambda given: [score.label for score in given.scores], 2),
    ]
    if task.answer is not None:
        outputs.append(Output("answer", "FP64", lambda given: given.answer))
    if explain:
        outputs.append(Output("rationale", "BYTES", lambda given: given.rationale))
    return {output.name: output for output in outputs}


def tensor_of(output: Output, predictions: Sequence[Prediction]) -> OutputTensor:
    """The tensor of an output, [N] or [N,K]. Shorter rows end in empty texts or zeros."""
    data, shape = [output.values(prediction) for prediction in predictions], [len(predictions)]
    if output.dims == 2:
        width = max(map(len, data))
        padding = [PADDING[output.datatype]]
        data = [value for row in data for value in row + padding * (width - len(row))]
        shape.append(width)
    return OutputTensor(name=output.name, datatype=output.datatype, shape=shape, data=data)


def inputs_of(
    task: Task, tensors: Sequence[InputTensor], elements: Sequence[list[Any]]
) -> list[Input]:
    """One input for each row of the tensors. `elements` has the flat elements of each tensor.

    Raises InvalidParameter, and InvalidInput if an element is not a text.
    """
    columns: dict[str, list[Any]] = {}
    for tensor, flat in zip(tensors, elements, strict=True):
        name = task.fields[0] if [tensor.name, len(task.fields)] == [TEXT, 1] else tensor.name
        if name in columns:
            raise InvalidParameter(f"{tensor.name}: there are two tensors of this name")
        columns[name] = list(_rows(tensor, flat, lists=name == task.choices))
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        raise InvalidParameter(f"inputs: they have different numbers of rows, {sizes}")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    inputs: list[Input] = check_inputs(rows)
    return inputs


def _rows(tensor: InputTensor, flat: list[Any], *, lists: bool) -> Iterator[Any]:
    count, *rest = tensor.shape
    if not lists:
        if rest not in ([], [1]):
            raise InvalidParameter(
                f"{tensor.name}: expected shape [N] or [N,1], got {tensor.shape}"
            )
        yield from flat
        return
    if rest in ([], [0]):
        raise InvalidParameter(
            f"{tensor.name}: expected shape [N,K] with K of at least 1, got {tensor.shape}"
        )
    for i in range(count):
        row = flat[i * rest[0] : (i + 1) * rest[0]]
        while row and row[-1] == "":
            row.pop()
        yield row
