"""A survey of rows: how many there are, and what the columns hold in a sample of them."""

import random
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from training.data.files import PlacedRow
from training.data.row import DataError

SAMPLE: Final = 10_000  # rows that are looked at, drawn from all


@dataclass(frozen=True)
class Column:
    """What a column holds in the rows of the sample."""

    name: str
    values: list[Any]  # by row; None where the row has none

    @cached_property
    def filled(self) -> list[Any]:
        """The values that are there."""
        return [value for value in self.values if value not in (None, [], "")]

    @property
    def missing(self) -> float:
        """The share of rows without a value."""
        return 1 - len(self.filled) / len(self.values)

    @cached_property
    def texts(self) -> list[str]:
        """The values that are texts, stripped."""
        return [value.strip() for value in self.filled if isinstance(value, str)]

    @property
    def holds_texts(self) -> bool:
        return bool(self.filled) and len(self.texts) == len(self.filled)

    @property
    def holds_lists(self) -> bool:
        """Whether each value is a list of texts."""
        return bool(self.filled) and all(
            isinstance(value, list) and all(isinstance(one, str) for one in value)
            for value in self.filled
        )

    @cached_property
    def counts(self) -> Counter[Hashable]:
        """How often each value occurs."""
        return Counter(map(_hashable, self.filled))

    @property
    def holds_labels(self) -> bool:
        """Whether each value is a text, an integer or a boolean."""
        return bool(self.filled) and all(isinstance(value, str | int) for value in self.filled)

    def tells(self, other: "Column") -> bool:
        """Whether this value gives the other one, in every row, and the reverse."""
        pairs = {
            (_hashable(one), _hashable(two))
            for one, two in zip(self.values, other.values, strict=True)
        }
        return len(pairs) == len({one for one, _ in pairs}) == len({two for _, two in pairs})


@dataclass(frozen=True)
class Survey:
    """The rows of a source: their number, and the columns of a sample of them."""

    source: str
    rows: int
    columns: dict[str, Column]


def survey_rows(source: str, rows: Iterable[PlacedRow]) -> Survey:
    """The survey of rows. Raises DataError where there are none.

    A value b of an object a is the column `a.b`.
    """
    rng = random.Random(0)
    sample: list[dict[str, Any]] = []
    count = 0
    for _, row in rows:
        count += 1
        place = count - 1 if count <= SAMPLE else rng.randrange(count)
        if count <= SAMPLE:
            sample.append(row)
        elif place < SAMPLE:  # every row is as likely to be in the sample (Vitter's algorithm R)
            sample[place] = row
    if not count:
        raise DataError(f"{source}: there are no rows")
    flat = [dict(_flattened(row)) for row in sample]
    names = dict.fromkeys(name for row in flat for name in row)
    columns = {name: Column(name, [row.get(name) for row in flat]) for name in names}
    return Survey(source, count, columns)


def _flattened(row: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _hashable(value: Any) -> Hashable:
    return repr(value) if isinstance(value, list | dict) else value
