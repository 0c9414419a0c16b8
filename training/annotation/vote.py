"""The vote of a row's samples: self-consistency."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.task import Task
from training.annotation.answer import Annotation
from training.annotation.dialogue import Failure


@dataclass(frozen=True)
class Consensus:
    """The label of most samples, the rationales that led to it, and the share that did."""

    label: str
    rationales: tuple[str, ...]
    agreement: float  # of all samples, those included that failed


def vote(samples: Sequence[Annotation | Failure], task: Task) -> Consensus | Failure:
    """The label that most samples have, and of several the one that came first.

    Wang et al., 2023, Self-Consistency Improves Chain of Thought Reasoning (arXiv 2203.11171).
    Labels are the same where the task judges one right by the other: equations of one value, so.
    Where every sample failed, the result is the failure of most.
    """
    groups: list[list[Annotation]] = []
    for sample in samples:
        if isinstance(sample, Failure):
            continue
        for group in groups:
            if task.is_right(sample.label, group[0].label):
                group.append(sample)
                break
        else:
            groups.append([sample])
    if not groups:
        failures = [sample for sample in samples if isinstance(sample, Failure)]
        [(reason, _)] = Counter(failure.reason for failure in failures).most_common(1)
        return next(failure for failure in failures if failure.reason == reason)
    most = max(groups, key=len)
    rationales = tuple(dict.fromkeys(sample.rationale for sample in most))
    return Consensus(most[0].label, rationales, len(most) / len(samples))
