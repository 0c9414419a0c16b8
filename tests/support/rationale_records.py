"""Records with hand-written rationales, for tests."""

from tasks.builtin import TASKS
from tasks.task import Fields, Task
from training.evaluation.record import Record

SVAMP = TASKS["svamp"]


def record(
    rationale: str | None = None,
    *,
    task: Task = SVAMP,
    input: Fields | None = None,
    gold: str = "( 3 + 4 )",
    label: str | None = None,
    index: int = 0,
    confidence: float = 0.5,
    reference: str | None = None,
) -> Record:
    """A record of `task`. Its label is the gold one if none is given."""
    fields = input or {"text": "Ada had 3 red apples. Ben gave her 4 more. How many has Ada?"}
    label = gold if label is None else label
    labels = task.labels_of(fields)
    return Record(
        index=index,
        input=fields,
        text=task.render(fields),
        gold=gold,
        label=label,
        right=task.is_right(label, gold),
        exact=label == gold,
        confidence=confidence,
        probabilities=None if labels is None else dict.fromkeys(labels, 1 / len(labels)),
        rationale=rationale,
        reference=reference,
        truncated=False,
        cluster=str(index),
    )
