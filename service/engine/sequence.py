"""Sequences: a sequence occupies a slot of the engine, from its prompt to its result."""

from abc import ABC, abstractmethod
from collections import abc
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import NamedTuple

from export.bundle import Geometry
from service.engine.prediction import Score
from tasks.calibration import Calibration


class Proposal(NamedTuple):
    """T new tokens that a sequence could use in its next step.

    The step takes the first `least` tokens or more. A tree fills the last three lists. They are
    empty for a chain: there each token follows the one before it and attends to all before it.
    """

    ids: list[int]  # [T]
    useful: list[float]  # [T], the probability that a token saves a later step
    least: int = 1
    positions: abc.Sequence[int] = ()  # [T], positions in the sequence
    visible: abc.Sequence[list[int]] = ()  # [T], the cache entries that each token attends to
    target_ids: abc.Sequence[int] = ()  # [T], the tokens whose log-probability is asked for

    def first(self, count: int) -> "Proposal":
        """The same proposal with at most its first `count` tokens."""
        if len(self.ids) <= count:
            return self
        return Proposal(
            self.ids[:count],
            self.useful[:count],
            self.least,
            self.positions[:count],
            self.visible[:count],
            self.target_ids[:count],
        )


class Sequence(ABC):
    """A label, a label set or a rationale that the decoder computes step by step, in its own slot.

    A step asks for a proposal, computes its first tokens, and gives the output to `accept`.
    """

    # New tokens in a step that let the sequence lose no time. Drafts are not counted.
    width = 1

    def __init__(self, prompt: list[int]) -> None:
        self.prompt = prompt
        self.request: EngineRequest  # set by the request itself
        self.tokens: list[int] = []  # the result so far, with its end token
        self.drafted = 0  # tokens that were drafted
        self.accepted = 0  # drafted tokens that were right
        self.done = False
        self.finished: float | None = None  # seconds, by time.perf_counter

    @property
    def ready(self) -> bool:
        """Whether the sequence can take a step as soon as its prompt is encoded."""
        return True

    @abstractmethod
    def propose(self, model: Geometry, most: int, floor: float) -> Proposal:
        """The new tokens for the next step: at most `most`, unless the sequence needs more.

        A token that is useful with a probability below `floor` costs more time than it saves.
        """

    @abstractmethod
    def accept(
        self, proposal: Proposal, next_ids: list[int], logprobs: list[float], end_id: int
    ) -> list[int] | range:
        """Takes the output of a step. Returns the cache entries to keep, in order.

        `proposal` holds the T tokens that the step took. The first T elements of the lists belong
        to them: the most probable next token, and its log-probability (nats), or that of the
        proposal's target. `end_id` is the end token.
        """

    @abstractmethod
    def scores(
        self, calibration: Calibration, decode: Callable[[list[int]], str]
    ) -> tuple[Score, ...]:
        """The labels found, the best first, each with its calibrated probability.

        `decode` turns tokens into a text. Call it only when the sequence is done.
        """


class EngineRequest:
    """The sequences of one request. When all are done, `future` returns the request itself.

    The engine's thread calls `listener` after each step of a sequence. It must be quick and must
    not raise.
    """

    def __init__(
        self, sequences: Iterable[Sequence], listener: Callable[[], None] | None = None
    ) -> None:
        self.sequences = tuple(sequences)
        self.listener = listener
        self.unfinished = len(self.sequences)
        self.steps = 0  # decoder steps in which one of its sequences took part
        self.future: Future[EngineRequest] = Future()
        self.submitted = self.admitted = 0.0  # seconds, by time.perf_counter
        for sequence in self.sequences:
            sequence.request = self

    @property
    def over(self) -> bool:
        """Whether the request was answered, has failed or was cancelled."""
        return self.future.done()

    def resolve(self, error: Exception | None = None) -> None:
        """Sets the future's result or error. Does nothing if the request is over."""
        if self.over or not self.future.set_running_or_notify_cancel():
            return
        if error is None:
            self.future.set_result(self)
        else:
            self.future.set_exception(error)
