"""Which rows each step of a run learns from, and which of them each process gets."""

import random
from collections.abc import Iterator
from functools import cached_property
from itertools import count, islice

from torch.utils.data import Sampler

from training.yaml_files import ConfigError


class ShuffledBatchSampler(Sampler[list[int]]):
    """Yields the batches of one process for all steps of a run, `accumulation` batches a step.

    Each epoch shuffles the rows by the seed and the epoch's number. A step takes the next
    `batch_size` rows, or the next rows that together have at most `batch_tokens` tokens. Rows left
    over at the end of an epoch are not used in it. A step's rows are cut into equal parts, one for
    each accumulated batch of each process. So a step has the same rows after a resume, and with
    any number of processes.
    """

    def __init__(
        self,
        sizes: list[int],
        *,
        steps: int,
        batch_size: int,
        batch_tokens: int | None = None,
        accumulation: int = 1,
        processes: int = 1,
        process: int = 0,
        seed: int = 0,
    ) -> None:
        """`sizes` are the tokens of each row.

        Raises ConfigError if the parts of a step would be unequal or empty.
        """
        self.sizes = sizes
        self.steps = steps
        self.batch_tokens = batch_tokens
        self.accumulation = accumulation
        self.processes = processes
        self.process = process
        self.seed = seed
        self.parts = accumulation * processes
        among = f"{processes} processes × {accumulation} accumulated batches"
        if batch_tokens is None and batch_size % self.parts:
            raise ConfigError(f"batch_size: {batch_size} rows cannot be dealt out among {among}")
        if len(sizes) < self.parts:
            raise ConfigError(f"data: {len(sizes)} training rows are too few for {among}")
        if batch_tokens is not None and self.parts * max(sizes) > batch_tokens:
            raise ConfigError(
                f"batch_tokens: {batch_tokens} may not hold a row of {max(sizes)} tokens for each "
                f"of {among}"
            )
        self.batch_size = min(batch_size, len(sizes) // self.parts * self.parts)

    def __len__(self) -> int:
        return self.steps * self.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        for rows in islice(self._batches(), self.steps):
            part = len(rows) // self.parts
            for i in range(self.accumulation):
                start = (i * self.processes + self.process) * part
                yield rows[start : start + part]

    @cached_property
    def steps_per_epoch(self) -> int:
        """Steps of the first epoch; with `batch_tokens`, other epochs may differ a little."""
        return sum(1 for _ in self._epoch(0))

    def _batches(self) -> Iterator[list[int]]:
        for epoch in count():
            yield from self._epoch(epoch)

    def _epoch(self, epoch: int) -> Iterator[list[int]]:
        rows = list(range(len(self.sizes)))
        random.Random(f"{self.seed} {epoch}").shuffle(rows)
        if self.batch_tokens is None:
            for start in range(0, len(rows) - self.batch_size + 1, self.batch_size):
                yield rows[start : start + self.batch_size]
            return
        batch: list[int] = []
        tokens, dealt = 0, False
        for row in rows:
            if tokens + self.sizes[row] > self.batch_tokens:
                usable = len(batch) // self.parts * self.parts
                yield batch[:usable]
                dealt = True
                batch = batch[usable:]
                tokens = sum(self.sizes[one] for one in batch)
            batch.append(row)
            tokens += self.sizes[row]
        if not dealt:
            yield batch[: len(batch) // self.parts * self.parts]
