"""Runs `training/evaluate.py` and stops it in the middle of writing a record.

`python -m tests.support.interrupted_evaluation STOP_AT [argument …]` kills itself there.
"""

import os
import signal
import sys
from collections.abc import Callable

import pytest

from training.evaluate import main
from training.evaluation.predictions import Predictions
from training.evaluation.record import Record


def evaluate_until(stop_at: int, stop: Callable[[], object], arguments: list[str]) -> int:
    """The exit status, unless `stop` ends the process."""
    original, written = Predictions.append, 0

    def append(self: Predictions, record: Record) -> None:
        nonlocal written
        if written == stop_at:
            self._file.write(b'{"index": 7, "text": "\xc3')
            self._file.flush()
            stop()
        original(self, record)
        written += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Predictions, "append", append)
        return main(arguments)


if __name__ == "__main__":
    evaluate_until(int(sys.argv[1]), lambda: os.kill(os.getpid(), signal.SIGKILL), sys.argv[2:])
