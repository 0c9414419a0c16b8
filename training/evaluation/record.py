"""A record: a row, and what a model said about it. All figures come from records."""

from dataclasses import dataclass
from typing import Self

from tasks.task import Fields, Task
from training.evaluation.labelled import LabelledRow


@dataclass(frozen=True)
class Record:
    """A row, its gold label, and what the model said.

    `confidence` is the probability that the model gives to `label`, as the service defines it: the
    softmax over a closed label set, else the probability of the decoded sequence.
    `probabilities` has all labels of a closed set, and is None where labels are open. `truncated`
    says that the text was too long, so the model read it without its end.
    """

    index: int  # of the row in its file, from 0
    input: Fields
    text: str  # as the task renders it
    gold: str
    label: str
    right: bool  # as the task judges: for equations, by value
    exact: bool
    confidence: float
    probabilities: dict[str, float] | None
    rationale: str | None  # the model's; None: it does not explain
    reference: str | None  # the teacher's
    truncated: bool
    cluster: str  # the same for rows that are not independent (`group_by`); else the index

    @classmethod
    def of(
        cls,
        task: Task,
        row: LabelledRow,
        label: str,
        confidence: float,
        probabilities: dict[str, float] | None,
        rationale: str | None,
        truncated: bool,
    ) -> Self:
        """The record of `row`, which `task` judges: `right` and `exact` are computed here."""
        return cls(
            index=row.index,
            input=row.input,
            text=row.text,
            gold=row.gold,
            label=label,
            right=task.is_right(label, row.gold),
            exact=label.strip() == row.gold.strip(),
            confidence=confidence,
            probabilities=probabilities,
            rationale=rationale,
            reference=row.reference,
            truncated=truncated,
            cluster=row.cluster,
        )
