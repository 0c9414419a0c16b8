"""Requests in the engine: the sequences that one request from outside needs."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future

from service.engine.sequence import Sequence


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
