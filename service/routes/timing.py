"""The headers that tell where the time of a request went."""

import time
from collections.abc import Sequence

from service.engine.prediction import Prediction


def timing_headers(started: float, answers: Sequence[Prediction]) -> dict[str, str]:
    """In milliseconds since `started`, and of the slowest of the answers."""
    timings = [answer.timings for answer in answers]
    seconds = {
        "total": time.perf_counter() - started,
        "tokenization": max(timing.tokenization for timing in timings),
        "queue": max(timing.queue for timing in timings),
        "inference": max(timing.inference for timing in timings),
    }
    return {f"x-{stage}-time": f"{value * 1000:.2f}" for stage, value in seconds.items()}
