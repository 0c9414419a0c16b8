"""What an evaluation needs from a model: its task, its identity, and a record of each row."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

from tasks.task import Task
from training.evaluation.labelled import LabelledRow
from training.evaluation.record import Record

T = TypeVar("T")


class ModelError(ValueError):
    """A model cannot be asked, or does not answer. The message says which one, and why."""


class Model(Protocol):
    @property
    def task(self) -> Task: ...

    @property
    def identity(self) -> dict[str, str]:
        """Facts that identify a model and its version."""

    @property
    def together(self) -> int:
        """How many rows are answered together. An interrupted run goes on at a multiple of it."""

    def answers(self, rows: Iterable[LabelledRow]) -> Iterator[Record]:
        """The record of each row, with a rationale if the model explains, in the rows' order.

        Reads few rows ahead. An input that is too long for the model loses its end. Raises
        ModelError, and DataError for a row that the model cannot take.
        """


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of up to `size` items: `itertools.batched` of Python 3.12."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
