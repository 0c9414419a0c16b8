"""Priority: who answers clients goes before who computes for them."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

# Where there is more to do than the processor can, a thread with it gets a ninth of what one
# without gets. Without it, under ten times the load that it can bear, the service refused requests
# after seconds; with half of it, too.
NICENESS: Final = 10

T = TypeVar("T")


def run_behind(work: Callable[[], T]) -> T:
    """The result of the work, done by a thread of lower priority than this one.

    Threads inherit their priority, so those that the work starts keep it. Only Linux gives threads
    priorities of their own: elsewhere all have the same.
    """
    result: Future[T] = Future()

    def run() -> None:
        if sys.platform == "linux":
            thread = threading.get_native_id()
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="duet-loader").start()
    return result.result()
