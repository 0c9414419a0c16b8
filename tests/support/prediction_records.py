"""Records of an evaluation, as a model would have made them."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.evaluation.record import Record


def record(
    index: int = 0,
    right: bool = True,
    confidence: float = 0.5,
    *,
    gold: str = "yes",
    label: str | None = None,
    **changes: Any,
) -> Record:
    label = label or (gold if right else "no")
    return Record(
        **{
            "index": index,
            "input": {"text": f"question {index}"},
            "text": f"question {index}",
            "gold": gold,
            "label": label,
            "right": right,
            "exact": label == gold,
            "confidence": confidence,
            "probabilities": None,
            "rationale": None,
            "reference": None,
            "truncated": False,
            "cluster": str(index),
        }
        | changes
    )


def open_records(confidence: Any, right: Any) -> list[Record]:
    """Records of an open task, from a confidence [N] and being right [N]."""
    pairs = zip(confidence, right, strict=True)
    return [record(i, bool(is_right), float(c)) for i, (c, is_right) in enumerate(pairs)]


def closed_records(probabilities: NDArray[Any], gold: Any, labels: list[str]) -> list[Record]:
    """Records of a closed label set, from probabilities [N, K] and gold labels' numbers [N]."""
    return [
        record(
            i,
            bool(row.argmax() == truth),
            float(row.max()),
            gold=labels[truth],
            label=labels[row.argmax()],
            probabilities=dict(zip(labels, row.tolist(), strict=True)),
        )
        for i, (row, truth) in enumerate(zip(probabilities, gold, strict=True))
    ]


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def to_json(result: Any) -> str:
    """A result as JSON, which has no NaN and no infinity."""
    return json.dumps(asdict(result), allow_nan=False)
