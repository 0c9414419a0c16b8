"""Slots: one row for each text being generated, with all that the decoder reads of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

WIDTH_STEP = 32  # widths are multiples of it, so that they seldom change


@dataclass(frozen=True)
class TensorSpec:
    """An input of the decoder. Its dimensions after the rows are sizes, or names of widths."""

    name: str
    dtype: type[np.generic]
    dims: tuple[int | str, ...]


class Slots:
    """Preallocated rows, of which the first `count` are always those in use.

    `arrays` holds the decoder's inputs by name, the caches included, each [capacity, ...]: the
    rows in use are one contiguous block of each. The widths M (cache entries) and S (input tokens)
    follow what the rows in use need, T (new tokens) is 1. `layout` changes whenever the block
    has another place or shape.
    """

    def __init__(self, specs: Iterable[TensorSpec], capacity: int, start_id: int) -> None:
        self.capacity = capacity
        self.count = 0
        self.layout = 0
        self._specs = tuple(specs)
        self._start_id = start_id
        self._widths = {"T": 1, "M": 0, "S": 0}
        self.arrays = {spec.name: self._zeros(spec, self._widths) for spec in self._specs}

    def add(self, cross: Mapping[str, Array]) -> None:
        """Takes a row into use, for a text of which nothing is generated yet.

        `cross` holds the decoder's `cross_key.l` and `cross_value.l` [1,H,S,Dk] of its input.
        """
        row = self.count
        source = next(iter(cross.values())).shape[2]
        self._fit("S", max(source, self._longest_source()))
        for name, values in cross.items():
            self.arrays[name][row, :, :source] = values[0]
        self.arrays["cross_mask"][row] = np.arange(self._widths["S"]) < source
        self.arrays["input_ids"][row] = self._start_id
        self.arrays["positions"][row] = 0
        self.arrays["write_index"][row] = 0
        self.arrays["visible"][row] = False
        self.count += 1
        self.layout += 1

    def remove(self, row: int) -> None:
        """Gives up a row. The last one in use takes its place."""
        last = self.count - 1
        if row != last:
            for array in self.arrays.values():
                array[row] = array[last]
        self.count = last
        self.layout += 1

    def clear(self) -> None:
        self.count = 0
        self.layout += 1

    def open_step(self) -> None:
        """Makes room for one more entry in each cache, and lets the new tokens see it."""
        rows = np.arange(self.count)
        entry = self.arrays["write_index"][rows]
        self._fit("M", int(entry.max()) + 1)
        self._fit("S", self._longest_source())
        self.arrays["visible"][rows, 0, entry] = True

    def close_step(self, next_ids: Array) -> None:
        """Makes `next_ids` [count] the tokens of the next step."""
        rows = slice(self.count)
        self.arrays["input_ids"][rows, 0] = next_ids
        self.arrays["positions"][rows] += 1
        self.arrays["write_index"][rows] += 1

    def _fit(self, dim: str, needed: int) -> None:
        """Widens to `needed`; narrows where that halves the width, so that it does not swing."""
        width = -(-needed // WIDTH_STEP) * WIDTH_STEP
        if self._widths[dim] // 2 < width <= self._widths[dim]:
            return
        widths = self._widths | {dim: width}
        self.arrays |= {
            spec.name: self._resized(spec, widths) for spec in self._specs if dim in spec.dims
        }
        self.arrays["cache_positions"][:] = np.arange(widths["M"])
        self._widths = widths
        self.layout += 1

    def _longest_source(self) -> int:
        return int(self.arrays["cross_mask"][: self.count].sum(axis=1).max(initial=0))

    def _resized(self, spec: TensorSpec, widths: Mapping[str, int]) -> Array:
        old, new = self.arrays[spec.name], self._zeros(spec, widths)
        kept = (slice(self.count), *map(slice, np.minimum(old.shape, new.shape)[1:]))
        new[kept] = old[kept]
        return new

    def _zeros(self, spec: TensorSpec, widths: Mapping[str, int]) -> Array:
        # Zeros cost no memory before they are written to, and caches must be finite: an entry that
        # is not visible has no weight, but nothing times NaN is NaN.
        shape = [widths[dim] if isinstance(dim, str) else dim for dim in spec.dims]
        return np.zeros((self.capacity, *shape), spec.dtype)
