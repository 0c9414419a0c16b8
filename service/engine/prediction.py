"""The engine's requests and predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from export.bundle import Manifest

# The fields of a task, or a string if the task has one field.
Input = str | Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class PredictRequest:
    """An input, and what the engine should answer about it.

    `top_k` limits the scores of a closed label set; None: all scores. `max_rationale_tokens` limits
    the rationale; None: the bundle's limit. With `truncate`, an input that is too long is cut at
    its end.
    """

    input: Input
    explain: bool = False
    top_k: int | None = None
    max_rationale_tokens: int | None = None
    truncate: bool = False


@dataclass(frozen=True)
class Score:
    """A label, and the calibrated probability that it is right."""

    label: str
    score: float


@dataclass(frozen=True)
class Usage:
    """The tokens of a request, with end tokens, and the decoder steps that it took part in.

    `accepted_tokens` were drafted and right; they make the steps fewer than the tokens.
    `truncated`: the input was too long and was cut at its end.
    """

    input_tokens: int
    label_tokens: int
    rationale_tokens: int
    decoder_steps: int
    accepted_tokens: int
    truncated: bool


@dataclass(frozen=True)
class Timings:
    """Seconds that a request spent in each stage.

    `label` and `rationale` are the seconds from the start of inference until each was known.
    """

    tokenization: float
    queue: float
    inference: float
    label: float
    rationale: float | None


@dataclass(frozen=True)
class Prediction:
    """The answer to a request. `model` is the manifest of the bundle that answered.

    `rationale` is None if none was asked for, or if it is not complete yet. `answer` is the value
    of a label that is an equation. `scores` has the best label first. `decoder_passes` is 2 with a
    rationale, else 1.
    """

    model: Manifest
    label: str
    confidence: float
    answer: float | None
    scores: tuple[Score, ...]
    rationale: str | None
    decoder_passes: int
    usage: Usage
    timings: Timings
