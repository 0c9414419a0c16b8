"""What was read of a file, what could not be used, and why."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class LoadReport:
    """What was read of `source`, and what could not be used: `reasons` counts why."""

    source: str
    read: int = 0
    dropped: int = 0
    without_rationale: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)  # the place of a reason's first row

    def note(self, reason: str, place: str) -> None:
        """Counts a reason, and keeps the place if it is the reason's first."""
        self.reasons[reason] += 1
        self.first.setdefault(reason, place.removeprefix(f"{self.source}, "))

    def drop(self, reason: str, place: str) -> None:
        """Counts a dropped row."""
        self.dropped += 1
        self.note(reason, place)

    def __str__(self) -> str:
        why = "".join(
            f"; {count} × {reason} (first: {self.first[reason]})"
            for reason, count in self.reasons.items()
        )
        return (
            f"{self.source}: {self.read} rows, {self.dropped} dropped, "
            f"{self.without_rationale} without a rationale{why}"
        )
