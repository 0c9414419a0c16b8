"""The vote of a row's samples: self-consistency."""

from collections import Counter
from collections.abc import Sequence

from tasks.task import Task
from training.annotation.answer import Annotation
from training.annotation.dialogue import Failure


def vote(samples: Sequence[Annotation | Failure], task: Task) -> Annotation | Failure:
    """The label of most samples. Among labels with equally many, the one that came first.

    Wang et al., 2023, Self-Consistency Improves Chain of Thought Reasoning (arXiv 2203.11171).
    Two labels are the same where the task judges one to be right for the other, such as two
    equations with one value. Where every sample failed, returns the most frequent failure.
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
    rationales = tuple(dict.fromkeys(text for sample in most for text in sample.rationales))
    return Annotation(most[0].label, rationales, len(most) / len(samples))
