"""How often each case is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    batches: tuple[int, ...]
    rounds: int  # of turns
    turn_seconds: float  # for which a peer repeats one case
    questions: int  # at most
    passes: int  # over the questions
    requests: int  # to a server under load, in each of its rounds
    server_rounds: int
    starts: int  # of a server


FULL = Effort(
    batches=(1, 8),
    rounds=5,
    turn_seconds=0.5,
    questions=1000,
    passes=2,
    requests=192,
    server_rounds=2,
    starts=3,
)
QUICK = Effort(
    batches=(1,),
    rounds=1,
    turn_seconds=0.02,
    questions=2,
    passes=1,
    requests=32,
    server_rounds=1,
    starts=1,
)
