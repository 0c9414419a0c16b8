import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.engine.priority import NICENESS, run_behind


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux")
def test_threads_that_the_work_starts_are_behind_too() -> None:
    ours = niceness()
    pool = ThreadPoolExecutor(1)

    def work() -> tuple[int, int]:
        return niceness(), pool.submit(niceness).result()

    assert run_behind(work) == (min(19, ours + NICENESS),) * 2
    assert pool.submit(niceness).result() == min(19, ours + NICENESS)
    assert niceness() == ours


def test_errors_come_out() -> None:
    with pytest.raises(ZeroDivisionError):
        run_behind(lambda: 1 / 0)
