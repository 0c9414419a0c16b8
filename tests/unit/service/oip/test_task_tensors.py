import pytest

from service.errors import InvalidParameter
from service.oip.task_tensors import inputs_of
from service.oip.tensors import InputTensor
from tasks.task import LabelField, Task

CHOICE = Task(
    name="cqa",
    fields=["question", "choices"],
    template="{{question}}",
    labels=LabelField(field="choices"),
)


def tensor(name: str, *shape: int) -> InputTensor:
    return InputTensor(name=name, shape=list(shape), datatype="BYTES")


def test_rows_with_fewer_choices_end_in_empty_texts() -> None:
    tensors = [tensor("question", 2), tensor("choices", 2, 2)]
    assert inputs_of(CHOICE, tensors, [["a", "b"], ["red", "blue", "green", ""]]) == [
        {"question": "a", "choices": ["red", "blue"]},
        {"question": "b", "choices": ["green"]},
    ]


@pytest.mark.parametrize("shape", [[2], [0], [1_000_000, 0], [0, 0]])
def test_rows_of_choices_have_at_least_one(shape: list[int]) -> None:
    """Else a few bytes could ask for any number of rows."""
    tensors = [tensor("question", 2), tensor("choices", *shape)]
    with pytest.raises(InvalidParameter, match=r"choices: expected shape \[N,K\] .*, got \["):
        inputs_of(CHOICE, tensors, [["a", "b"], ["red", "blue"] if shape == [2] else []])
