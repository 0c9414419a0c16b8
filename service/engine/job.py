"""Jobs: what a request wants of the decoder, in rows."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType

from service.errors import INTERNAL, InternalError

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Row:
    """Something to find out after a prompt, in a slot of its own.

    What only one row is to blame for is done in `with row:`. An exception there fails the row's
    request, which then leaves before the next step, and none of its neighbours.
    """

    prompt: list[int]
    job: "Job" = field(init=False)
    done: bool = field(init=False, default=False)
    finished: float | None = field(init=False, default=None)  # seconds, by time.perf_counter

    @property
    def ready(self) -> bool:
        """Whether a step can be taken, once it is encoded."""
        return True

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        if not self.job.future.done():
            logger.error("a request failed by itself", exc_info=error)
            self.job.resolve(InternalError(INTERNAL))
        return True


class Job:
    """The rows of one request. Its future gives the job itself, once all are done.

    `truncated` says that what was asked was too long, and lost its end.
    `listener` is called in the engine's thread whenever a row has more tokens or is done. It must
    be quick and raise nothing.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        listener: Callable[[], None] | None = None,
        truncated: bool = False,
    ) -> None:
        self.rows = rows
        self.listener = listener
        self.truncated = truncated
        self.unfinished = len(rows)
        self.steps = 0  # of the decoder, that a row of it took part in
        self.future: Future[Job] = Future()
        self.submitted = self.admitted = time.perf_counter()  # seconds
        for row in rows:
            row.job = self

    def resolve(self, error: Exception | None = None) -> None:
        """Hands out the result, unless the job is over or its future cancelled."""
        if self.future.done() or not self.future.set_running_or_notify_cancel():
            return
        if error is None:
            self.future.set_result(self)
        else:
            self.future.set_exception(error)
