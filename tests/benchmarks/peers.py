"""A peer answers `Work` in every way it can, to be measured in a process of its own."""

import statistics
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tests.benchmarks.work import Answers, Work

THREADS = 2
TRIAL_SECONDS = 0.1

Ids = list[list[int]]
Way = tuple[Callable[[], Any], Callable[[Any], Answers]]  # what is timed; what reads its result


class Peer(ABC):
    """A runtime with one model loaded."""

    @abstractmethod
    def ways(self, work: Work) -> dict[str, Way]:
        """Every correct way to do the work, with its inputs prepared."""

    def fastest(self, works: Sequence[Work]) -> str:
        """The way that takes the shortest time when warm: the best of the runs in TRIAL_SECONDS."""
        seconds: dict[str, float] = defaultdict(float)
        for work in works:
            for name, (run, _) in self.ways(work).items():
                run()
                times = [seconds_of(run)[0]]
                while sum(times) < TRIAL_SECONDS:
                    times.append(seconds_of(run)[0])
                seconds[name] += min(times)
        return min(seconds, key=lambda name: seconds[name])

    def turn(self, work: Work, way: str, at_least: float) -> tuple[float, Answers]:
        """The median seconds of the work, repeated for `at_least` seconds, and the answers."""
        run, read = self.ways(work)[way]
        times: list[float] = []
        while sum(times) < at_least:
            seconds, result = seconds_of(run)
            times.append(seconds)
        return statistics.median(times), read(result)

    def each(self, works: Sequence[Work], way: str) -> list[tuple[float, Answers]]:
        """Seconds and answers of each work, one by one. The first is done once before, untimed."""
        done = []
        for work in [works[0], *works]:
            run, read = self.ways(work)[way]
            seconds, result = seconds_of(run)
            done.append((seconds, read(result)))
        return done[1:]


def seconds_of(run: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


class Generator(Peer):
    """A runtime that generates texts, and scores given ones; it combines the two itself."""

    def __init__(self, checkpoint: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))

    @abstractmethod
    def generation(self, prompts: Ids, tokens: int, exact: bool) -> Callable[[], Ids]:
        """A function that generates greedily, at most (or exactly) `tokens` tokens."""

    @abstractmethod
    def scoring(self, prompts: Ids, candidates: Ids) -> Callable[[], list[int]]:
        """A function that finds the most probable candidate for each prompt."""

    def ways(self, work: Work) -> dict[str, Way]:
        write = self.generation(work.rationale_prompts, work.rationale_tokens, work.exact)
        if work.wants == "rationale":
            return {"generate": (write, lambda ids: self._answers([], ids))}
        closed = work.candidates is not None
        label = self.generation(work.label_prompts, work.label_tokens, work.exact)
        pick = None
        if work.candidates is not None:  # a label that is written may be a candidate by chance
            encoded = [self.tokenizer.encode(text).ids for text in work.candidates]
            pick = self.scoring(work.label_prompts, encoded)

        def picked(best: list[int], rationales: Ids) -> Answers:
            assert work.candidates is not None
            answers = self._answers([], rationales)
            return replace(answers, labels=[work.candidates[i] for i in best])

        if work.wants == "label":
            ways: dict[str, Way] = {
                "generate": (label, lambda ids: self._answers([] if closed else ids, []))
            }
            if pick is not None:
                ways["score"] = (pick, lambda best: picked(best, []))
            return ways
        count = len(work.texts)
        together = self.generation(
            [*work.label_prompts, *work.rationale_prompts], work.rationale_tokens, work.exact
        )
        ways = {
            "generate, generate": (
                lambda: (label(), write()),
                lambda both: self._answers([] if closed else both[0], both[1]),
            ),
            "generate together": (
                together,
                lambda ids: self._answers(
                    [] if closed else [tokens[: work.label_tokens] for tokens in ids[:count]],
                    ids[count:],
                ),
            ),
        }
        if pick is not None:
            ways["score, generate"] = (lambda: (pick(), write()), lambda both: picked(*both))
        return ways

    def _answers(self, labels: Ids, rationales: Ids) -> Answers:
        return Answers(
            [self.text(ids) for ids in labels],
            [self.text(ids) for ids in rationales],
            [len(ids) for ids in rationales],
        )

    def text(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()
