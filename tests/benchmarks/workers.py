"""Workers: every peer in a process of its own, one at work at a time."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Self

import psutil

# The threads of an OpenMP runtime stay busy for 200 ms after their work.
SETTLE_SECONDS = 0.25
BUSY_SECONDS = 0.1  # of processor time: a peer that uses more is not idle

_held: Any = None


def _hold(make: Callable[..., Any], *arguments: Any) -> int:
    """Keeps the object that `make` returns in this process."""
    global _held
    _held = make(*arguments)
    return psutil.Process().pid


def _call(method: str, *arguments: Any) -> Any:
    return getattr(_held, method)(*arguments)


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function that runs in a process of its own, with its imports."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(function, *arguments).result()


class Worker:
    """An object in a process of its own. Its exceptions are raised here."""

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        self._executor = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        try:
            self._process = psutil.Process(self._executor.submit(_hold, make, *arguments).result())
        except BaseException:
            self._executor.shutdown()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        result = self._executor.submit(_call, method, *arguments).result()
        time.sleep(SETTLE_SECONDS)
        return result

    def busy(self) -> float:
        """Seconds of processor time that the process has used."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def close(self) -> None:
        self._executor.shutdown()


class Workers:
    """Peers by name. While one works, the others must be idle."""

    def __init__(self, makers: dict[str, tuple[Any, ...]]) -> None:
        self._workers: dict[str, Worker] = {}
        try:
            for name, (make, *arguments) in makers.items():
                self._workers[name] = Worker(make, *arguments)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Any:
        return iter(self._workers)

    def call(self, name: str, method: str, *arguments: Any) -> Any:
        """Calls a method of a peer. Raises RuntimeError where another peer worked meanwhile."""
        others = [worker for other, worker in self._workers.items() if other != name]
        before = [worker.busy() for worker in others]
        result = self._workers[name].call(method, *arguments)
        spent = sum(worker.busy() for worker in others) - sum(before)
        if spent > BUSY_SECONDS:
            raise RuntimeError(f"while {name} was measured, others computed for {spent:.2f} s")
        return result

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
