"""Sequences: what occupies a slot of the engine, from its prompt to its result."""

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

    The step takes the first ones: `least` of them or more. A tree has the last three lists. They
    are empty for a chain, in which each token follows the one before it, and sees all before it.
    """

    ids: list[int]  # [T]
    useful: list[float]  # [T], the probability that a token saves a later step
    least: int = 1
    positions: abc.Sequence[int] = ()  # [T], places in the sequence
    visible: abc.Sequence[list[int]] = ()  # [T], the cache entries that each token attends to
    target_ids: abc.Sequence[int] = ()  # [T], tokens whose log-probability is wanted

    def first(self, count: int) -> "Proposal":
        """The proposal of its first tokens alone, `count` of them at most."""
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
    """What the decoder finds out after a prompt, in a slot of its own, step by step.

    A step asks for a proposal, computes its first tokens, and has the sequence accept the output.
    """

    # New tokens that a step must have room for, so that the sequence loses no time. Drafts are not
    # counted.
    width = 1

    def __init__(self, prompt: list[int]) -> None:
        self.prompt = prompt
        self.request: EngineRequest  # set by the request itself
        self.tokens: list[int] = []  # the result, with its end token, as far as it is known
        self.drafted = 0  # tokens that were drafted
        self.accepted = 0  # drafted tokens that were right
        self.done = False
        self.finished: float | None = None  # seconds, by time.perf_counter

    @property
    def ready(self) -> bool:
        """Whether it can take a step once its prompt is encoded."""
        return True

    @abstractmethod
    def propose(self, model: Geometry, most: int, floor: float) -> Proposal:
        """The new tokens for the next step: `most`, unless it needs more.

        Those whose probability of use is below `floor` would cost more time than they save.
        """

    @abstractmethod
    def accept(
        self, proposal: Proposal, next_ids: list[int], logprobs: list[float], end_id: int
    ) -> list[int] | range:
        """Takes in what came out of a step. Returns the cache entries to keep, in order.

        `proposal` holds the T tokens that the step took, and the lists begin with what came out for
        each: the most probable next token, and the log-probability (nats) of that one, or of the
        proposal's target. `end_id` is the end token.
        """

    @abstractmethod
    def scores(
        self, calibration: Calibration, decode: Callable[[list[int]], str]
    ) -> tuple[Score, ...]:
        """The labels that were found, the best first, each with its calibrated probability.

        `decode` makes a text of tokens. Only for a sequence that is done.
        """


class EngineRequest:
    """The sequences of one request. Its future gives the request itself, once all are done.

    `listener` is called in the engine's thread after each step of a sequence. It must be quick and
    raise nothing.
    """

    def __init__(
        self, sequences: Iterable[Sequence], listener: Callable[[], None] | None = None
    ) -> None:
        self.sequences = tuple(sequences)
        self.listener = listener
        self.unfinished = len(self.sequences)
        self.steps = 0  # of the decoder, in which one of its sequences took part
        self.future: Future[EngineRequest] = Future()
        self.submitted = self.admitted = 0.0  # seconds, by time.perf_counter
        for sequence in self.sequences:
            sequence.request = self

    @property
    def over(self) -> bool:
        """Whether nobody waits for its sequences: it was answered, has failed or was cancelled."""
        return self.future.done()

    def resolve(self, error: Exception | None = None) -> None:
        """Hands out the result or the error. Does nothing where the request is over."""
        if self.over or not self.future.set_running_or_notify_cancel():
            return
        if error is None:
            self.future.set_result(self)
        else:
            self.future.set_exception(error)
