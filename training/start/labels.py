"""The labels of all rows: whether they are a closed set, equations, or free text."""

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Final

from tasks.equations import evaluate_equation
from training.data.row import Row

MOST: Final = 200  # labels of a closed set
REPEATED: Final = 5  # rows of a label, on average, from which on a set is closed
RARE: Final = 0.1  # of a label's rows on average: a label with no more may be a mistake
EQUATIONS: Final = 0.95  # share of rows whose label is an equation

_OPERATION = re.compile(r"[0-9)] *[-+*/]")


@dataclass(frozen=True)
class Labels:
    """How often each label occurs, and the labels that only the other source of labels has."""

    counts: Counter[str]
    other: list[str]  # only the teacher has them, or only people

    @property
    def closed(self) -> bool:
        """Whether there are few labels, most of them several times."""
        return len(self.counts) <= min(MOST, self.counts.total() / REPEATED)

    @property
    def equations(self) -> bool:
        """Whether the labels are equations, not only numbers."""
        known = sum(
            count
            for text, count in self.counts.items()
            if _OPERATION.search(text) and evaluate_equation(text) is not None
        )
        return known >= EQUATIONS * self.counts.total()

    @property
    def all(self) -> list[str]:
        """Every label, the most frequent first; then the others."""
        return [label for label, _ in self.counts.most_common()] + self.other

    @property
    def rare(self) -> list[str]:
        """The labels that few rows have, against the others."""
        few = max(1, RARE * self.counts.total() / len(self.counts))
        return [label for label, count in self.counts.most_common() if count <= few]

    @property
    def alike(self) -> list[list[str]]:
        """The labels that differ only in case or white space, together."""
        found: dict[str, list[str]] = defaultdict(list)
        for label in self.all:
            found[" ".join(label.casefold().split())].append(label)
        return [labels for labels in found.values() if len(labels) > 1]


def count_labels(rows: list[Row], *, learn_teacher: bool) -> Labels:
    """The labels of rows: the right ones, or the teacher's."""
    right = Counter(row.label for row in rows if row.label is not None)
    teacher = Counter(row.teacher_label for row in rows if row.teacher_label is not None)
    counts, others = (teacher, right) if learn_teacher else (right, teacher)
    return Labels(counts, [label for label in others if label not in counts])
