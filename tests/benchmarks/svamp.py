"""Case (b): svamp-mini answers real questions one by one, each with label and rationale."""

import json
import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from export.bundle import TOKENIZER
from export.verify import read_manifest
from service.engine.prediction import Usage
from tests.benchmarks.comparison import Comparison, equal_texts
from tests.benchmarks.duet import Duet
from tests.benchmarks.effort import Effort
from tests.benchmarks.generation import peers_of
from tests.benchmarks.work import Answers, work_on
from tests.benchmarks.workers import Workers, in_a_process

BLOCK = 10  # questions that a peer answers in one turn
DRAFTING = "Duet fp32"


@dataclass(frozen=True)
class Questions:
    comparison: Comparison
    tokens_per_step: float  # of a single text
    tokens_per_request_step: float  # of label and rationale together, which share steps


def read_questions(data: Path) -> list[str]:
    """The questions of the test rows, from Distilling Step-by-Step's archive. Raises OSError."""
    lines = (data / "svamp" / "svamp_test.json").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["input"].strip() for line in lines if line.strip()]


def export(checkpoint: Path, folder: Path, peers: Collection[str]) -> None:
    """Fills `folder` with what the peers load."""
    in_a_process(_export, checkpoint, folder, peers)


def _export(checkpoint: Path, folder: Path, peers: Collection[str]) -> None:
    from tests.benchmarks.exports import export_to_peers

    export_to_peers(checkpoint, folder, peers)


def measure(
    checkpoint: Path,
    folder: Path,
    bundle: Path,
    questions: Sequence[str],
    peers: Collection[str],
    effort: Effort,
    log: Callable[[str], None],
) -> Questions:
    """Measures all peers. Times are medians over all questions."""
    manifest = read_manifest(bundle)
    tokenizer = Tokenizer.from_file(str(bundle / TOKENIZER))
    works = [
        work_on(
            tokenizer,
            (question,),
            "both",
            label_tokens=manifest.limits.label_tokens,
            rationale_tokens=manifest.limits.rationale_tokens,
        )
        for question in questions
    ]
    makers = peers_of(checkpoint, folder, peers)
    makers[DRAFTING] = (Duet, {"both": bundle}, True)
    makers["Duet fp32, no drafts"] = (Duet, {"both": bundle}, False)
    times: dict[str, list[float]] = defaultdict(list)
    answers: dict[str, list[Answers]] = {}
    with Workers(makers) as workers:
        log("SVAMP: warming up")
        ways = {name: workers.call(name, "fastest", works[:BLOCK]) for name in workers}
        workers.call(DRAFTING, "take_usages")
        for number in range(1, effort.passes + 1):
            log(f"pass {number} of {effort.passes}")
            answers = defaultdict(list)
            for begin in range(0, len(works), BLOCK):
                for name in workers:
                    block = works[begin : begin + BLOCK]
                    for seconds, answer in workers.call(name, "each", block, ways[name]):
                        times[name].append(seconds)
                        answers[name].append(answer)
        usages = workers.call(DRAFTING, "take_usages")
    joined = {name: _join(of_peer) for name, of_peer in answers.items()}
    comparison = Comparison(
        "label and rationale",
        {name: statistics.median(seconds) for name, seconds in times.items()},
        ways,
        equal_texts(joined),
    )
    return Questions(comparison, *tokens_per_step(usages))


def tokens_per_step(usages: Sequence[Usage]) -> tuple[float, float]:
    """Tokens per step: of a single text, and of a request, whose texts share steps."""
    tokens = sum(usage.label_tokens + usage.rationale_tokens for usage in usages)
    accepted = sum(usage.accepted_tokens for usage in usages)
    return tokens / (tokens - accepted), tokens / sum(usage.decoder_steps for usage in usages)


def _join(answers: Sequence[Answers]) -> Answers:
    return Answers(
        [label for answer in answers for label in answer.labels],
        [rationale for answer in answers for rationale in answer.rationales],
        [tokens for answer in answers for tokens in answer.rationale_tokens],
    )
