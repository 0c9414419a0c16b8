"""What the records of an evaluation come to."""

from collections.abc import Iterable

from training.evaluation.record import Record


def summarise(records: Iterable[Record]) -> dict[str, float | int]:
    """Accuracy as the task judges, and the number of rows."""
    right = [record.right for record in records]
    return {"accuracy": sum(right) / len(right), "n": len(right)}
