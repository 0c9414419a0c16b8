"""Progress: a bar at a terminal, or a line from time to time in a log."""

import sys
import time
from typing import Final

from tqdm import tqdm

EVERY_SECONDS: Final = 30.0


class Progress:
    """Shows how many rows are done, how fast, and how long the rest will take."""

    def __init__(self, total: int, done: int) -> None:
        self.rows = 0  # done by this process
        self._total, self._before = total, done
        self._started = self._told = time.monotonic()
        self._bar = tqdm(total=total, initial=done, unit="row", smoothing=0.1, disable=None)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def add(self, rows: int = 1) -> None:
        self.rows += rows
        self._bar.update(rows)
        if self._bar.disable and time.monotonic() - self._told > EVERY_SECONDS:
            self._told = time.monotonic()
            text = tqdm.format_meter(
                self._before + self.rows,
                self._total,
                self.seconds,
                initial=self._before,
                unit="row",
                ncols=0,
            )
            print("batch:", text, file=sys.stderr, flush=True)

    def close(self) -> None:
        self._bar.close()
