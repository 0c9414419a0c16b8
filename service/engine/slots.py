"""Slots: the caches of the running sequences, one row for each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

WIDTH_STEP = 32  # widths are multiples of it, so they seldom change


@dataclass(frozen=True)
class TensorSpec:
    """An input of the decoder. `dims` come after the rows: sizes, or names of varying widths."""

    name: str
    dtype: type[np.generic]
    dims: tuple[int | str, ...]

    @property
    def is_cache(self) -> bool:
        """Whether it holds keys or values. Those are in the device's memory."""
        return any(isinstance(dim, int) for dim in self.dims)


class Slots:
    """Preallocated rows. The first `count` rows are in use, as one contiguous block of each array.

    `arrays` holds, by name, the decoder's inputs that outlive a step, each [capacity, ...]: the
    caches, their fill levels, positions and masks. The widths M (cache entries) and S (input
    tokens) follow the needs of the used rows. `layout` changes when the block moves or changes its
    shape.

    Caches are arrays of `library`: numpy, or a library with its interface. Other arrays are
    numpy's.
    """

    def __init__(self, specs: Iterable[TensorSpec], capacity: int, library: Any = np) -> None:
        self._library = library
        self.capacity = capacity
        self.count = 0
        self.layout = 0
        self._specs = tuple(spec for spec in specs if "T" not in spec.dims)
        self._sources: list[int] = []  # input tokens of the rows in use
        self._widths = {"M": 0, "S": 0}
        self.arrays = {spec.name: self._zeros(spec, self._widths) for spec in self._specs}

    @property
    def lengths(self) -> Array:
        """The number of kept cache entries of each row, [count].

        The next step writes after them, over the entries that were not kept.
        """
        return self.arrays["write_index"][: self.count]

    @property
    def width(self) -> int:
        """The width M of the open step."""
        return self._widths["M"]

    def add(self, cross: Mapping[str, Array]) -> None:
        """Takes the next row into use, with an empty cache.

        `cross` holds the decoder's `cross_key.l` and `cross_value.l` [1,H,S,Dk] of its prompt.
        """
        row = self.count
        source = next(iter(cross.values())).shape[2]
        self._sources.append(source)
        self._fit("S", max(self._sources))
        for name, values in cross.items():
            self.arrays[name][row, :, :source] = values[0]
        self.arrays["cross_mask"][row] = np.arange(self._widths["S"]) < source
        self.arrays["write_index"][row] = 0
        self.count += 1
        self.layout += 1

    def remove(self, row: int) -> None:
        """Frees a row. The last used row moves to its place."""
        last = self.count - 1
        if row != last:
            for array in self.arrays.values():
                array[row] = array[last]
        self._sources[row] = self._sources[last]
        del self._sources[last]
        self.count = last
        self.layout += 1

    def clear(self) -> None:
        self._sources.clear()
        self.count = 0
        self.layout += 1

    def open_step(self, positions: Array) -> None:
        """Makes room for T new tokens in each row, at `positions` [count,T] of their sequences."""
        self._fit("M", int(self.lengths.max()) + positions.shape[1])
        self._fit("S", max(self._sources))
        rows = np.arange(self.count)[:, None]
        entries = self.lengths[:, None] + np.arange(positions.shape[1])
        self.arrays["cache_positions"][rows, entries] = positions

    def keep(self, kept: Iterable[list[int] | range | None]) -> None:
        """Keeps these cache entries of each row, in this order, and drops the others.

        A list's entries move to the beginning. A range stands for the first entries, which stay in
        place. None keeps the entries from before the step.
        """
        for row, entries in enumerate(kept):
            if entries is None:
                continue
            if isinstance(entries, list):
                self._move(row, entries)
            self.lengths[row] = len(entries)

    def _move(self, row: int, entries: list[int]) -> None:
        """Moves these entries to the beginning of the row's cache."""
        for spec in self._specs:
            if entries and "M" in spec.dims:
                cache = self.arrays[spec.name][row].swapaxes(0, spec.dims.index("M"))
                cache[: len(entries)] = cache[entries]

    def _fit(self, dim: str, needed: int) -> None:
        """Widens a dimension to `needed`. Narrows it only to less than half: a change copies."""
        width = -(-needed // WIDTH_STEP) * WIDTH_STEP
        if width <= self._widths[dim] <= 2 * width:
            return
        widths = self._widths | {dim: width}
        self.arrays |= {
            spec.name: self._resized(spec, widths) for spec in self._specs if dim in spec.dims
        }
        self._widths = widths
        self.layout += 1

    def _resized(self, spec: TensorSpec, widths: Mapping[str, int]) -> Array:
        old, new = self.arrays[spec.name], self._zeros(spec, widths)
        kept = (slice(self.count), *map(slice, map(min, old.shape[1:], new.shape[1:])))
        new[kept] = old[kept]
        return new

    def _zeros(self, spec: TensorSpec, widths: Mapping[str, int]) -> Array:
        # Zeros cost no memory until they are written to. Caches must be finite: an invisible entry
        # has the weight 0, but 0 times NaN is NaN.
        shape = [widths[dim] if isinstance(dim, str) else dim for dim in spec.dims]
        library = self._library if spec.is_cache else np
        zeros: Array = library.zeros((self.capacity, *shape), spec.dtype)
        return zeros
