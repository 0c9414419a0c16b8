"""What an evaluation needs of a model, wherever that is: a task, and answers to rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from tasks.task import Task
from training.evaluation.labelled import LabelledRow

T = TypeVar("T")


class ModelError(ValueError):
    """A model cannot be asked, or does not answer. The message says which one, and why."""


@dataclass(frozen=True)
class Answer:
    """What a model says of an input; see `Record`."""

    label: str
    confidence: float
    probabilities: dict[str, float] | None
    rationale: str
    truncated: bool


class Model(Protocol):
    @property
    def task(self) -> Task: ...

    @property
    def identity(self) -> dict[str, str]:
        """What tells it from other models, and from itself with other weights."""

    @property
    def together(self) -> int:
        """Rows whose answers come together: an interrupted run goes on at a multiple of it."""

    def answers(self, rows: Iterable[LabelledRow]) -> Iterator[Answer]:
        """An answer to each row, in their order, with rationales. Reads few rows ahead.

        What is too long for the model loses its end. Raises ModelError.
        """


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items: `itertools.batched` of Python 3.12."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
