"""One comparison: the same work by every peer, in turns."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.benchmarks.effort import Effort
from tests.benchmarks.work import Answers, Work
from tests.benchmarks.workers import Workers

OURS = "Duet"  # every name of ours begins with it


@dataclass(frozen=True)
class Comparison:
    """Medians in seconds. By peer: how it did the work, and how many texts are the others'."""

    case: str
    seconds: Mapping[str, float]
    ways: Mapping[str, str]
    equal: Mapping[str, tuple[int, int]]

    @property
    def best_peer(self) -> str:
        return min((name for name in self.seconds if not name.startswith(OURS)), key=self._of)

    @property
    def best_of_ours(self) -> str:
        return min((name for name in self.seconds if name.startswith(OURS)), key=self._of)

    @property
    def ratio(self) -> float:
        """How many times as long as Duet the fastest peer takes."""
        return self.seconds[self.best_peer] / self.seconds[self.best_of_ours]

    def _of(self, name: str) -> float:
        return self.seconds[name]


def compare(
    workers: Workers, cases: Mapping[str, Work], effort: Effort, log: Callable[[str], None]
) -> list[Comparison]:
    """Measures every case in every round. All peers take turns, each in its fastest way.

    Raises RuntimeError where a peer wrote another number of tokens than it should.
    """
    ways: dict[str, dict[str, str]] = {}
    for case, work in cases.items():
        log(f"{case}: warming up")
        ways[case] = {name: workers.call(name, "fastest", [work]) for name in workers}
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    answers: dict[str, dict[str, Answers]] = defaultdict(dict)
    for number in range(1, effort.rounds + 1):
        log(f"round {number} of {effort.rounds}")
        for case, work in cases.items():
            for name in workers:
                way = ways[case][name]
                seconds, answers[case][name] = workers.call(
                    name, "turn", work, way, effort.turn_seconds
                )
                times[case][name].append(seconds)
                _check(f"{case}: {name}", work, answers[case][name])
    return [
        Comparison(
            case,
            {name: statistics.median(times[case][name]) for name in workers},
            ways[case],
            equal_texts(answers[case]),
        )
        for case in cases
    ]


def equal_texts(answers: Mapping[str, Answers]) -> dict[str, tuple[int, int]]:
    """By peer: how many texts equal those of the first peer that has them, and of how many."""
    labels = next((given.labels for given in answers.values() if given.labels), [])
    rationales = next(iter(answers.values())).rationales
    equal = {}
    for name, given in answers.items():
        pairs = [*zip(given.labels, labels, strict=False)]
        pairs += zip(given.rationales, rationales, strict=True)
        equal[name] = (sum(ours == theirs for ours, theirs in pairs), len(pairs))
    return equal


def _check(place: str, work: Work, answers: Answers) -> None:
    wanted = 0 if work.wants == "label" else len(work.texts)
    if work.exact and answers.rationale_tokens != [work.rationale_tokens] * wanted:
        raise RuntimeError(
            f"{place} wrote rationales of {answers.rationale_tokens} tokens, "
            f"where each should have {work.rationale_tokens}"
        )
