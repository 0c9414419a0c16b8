"""Stops a job on SIGINT or SIGTERM."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from service.server import STOP_SIGNALS, kill_at_next


class Stopped(Exception):
    """A signal stopped the job. `exit_status` is 128 + the signal's number, as in a shell."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_status = 128 + signum


@contextmanager
def stoppable() -> Iterator[None]:
    """Makes the first signal raise Stopped in the main thread; a second one ends the process."""
    before = {signum: signal.signal(signum, _stop) for signum in STOP_SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _stop(signum: int, frame: FrameType | None) -> None:
    kill_at_next(STOP_SIGNALS)
    raise Stopped(signum)
