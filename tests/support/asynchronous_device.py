"""A device for tests: it is the CPU, but behaves like a GPU.

Like CuPy's, its arrays are not numpy arrays, and do not become numpy arrays by themselves. It runs
operations later, when the device is synchronised. New arrays hold rubbish until they are written.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from service.engine.devices import CPU

pending: list[Callable[[], None]] = []
at_work = threading.Lock()


def synchronize() -> None:
    with at_work:  # so that a thread that waits finds all done, whichever thread did it
        while pending:
            pending.pop(0)()


class DeferredArray:
    def __init__(self, values: np.ndarray) -> None:
        self.values = values  # for the device, and for tests that look
        self.shape, self.dtype = values.shape, values.dtype

    def __array__(self, *_: object) -> np.ndarray:
        raise TypeError("implicit conversion to a numpy array is not allowed")

    def __getitem__(self, index: Any) -> "DeferredArray":
        if not isinstance(index, list):
            return DeferredArray(self.values[index])  # a view
        copy = empty((len(index), *self.shape[1:]), self.dtype)
        pending.append(lambda: np.copyto(copy.values, self.values[index]))
        return copy

    def __setitem__(self, index: Any, new: "DeferredArray") -> None:
        if not isinstance(new, DeferredArray):
            raise TypeError(f"unsupported type {type(new)}")
        pending.append(lambda: self.values.__setitem__(index, new.values))

    def swapaxes(self, one: int, other: int) -> "DeferredArray":
        return DeferredArray(self.values.swapaxes(one, other))


def empty(shape: tuple[int, ...], dtype: Any) -> DeferredArray:
    values = np.empty(shape, dtype)
    values.view(np.uint8).fill(0xFF)  # not a number, as floats
    return DeferredArray(values)


def zeros(shape: tuple[int, ...], dtype: Any) -> DeferredArray:
    array = empty(shape, dtype)
    pending.append(lambda: array.values.fill(0))
    return array


DEFERRED = replace(
    CPU,
    title="the test's GPU",
    precisions=("fp32", "fp16", "bf16"),
    arrays=SimpleNamespace(empty=empty, zeros=zeros),
    address=lambda array: array.values.ctypes.data,
    synchronize=synchronize,
)
