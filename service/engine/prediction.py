"""What is asked of the engine, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from export.bundle import Manifest

# The fields of a task, or a string where the task has one field.
Input = str | Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class PredictRequest:
    """What is asked about an input.

    `top_k` is how many scores of a closed label set to give; None: all. `max_rationale_tokens` is
    how long the rationale may be; None: as long as the bundle allows. With `truncate` an input that
    is too long loses its end.
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
    """Tokens, the end tokens included, and steps of the decoder that the request took part in.

    The steps are fewer than the tokens where drafts were right: `accepted_tokens` were drafted.
    `truncated` says that the input had more tokens, and lost its end.
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

    `label` and `rationale` are how much of the inference it took until each was there.
    """

    tokenization: float
    queue: float
    inference: float
    label: float
    rationale: float | None


@dataclass(frozen=True)
class Prediction:
    """A label, and what goes with it. `model` is the one that answered.

    `rationale` is None where none was asked for, or none is there yet. `answer` is the value of a
    label that is an equation, and `scores` has the best label first. `decoder_passes` is 2 with a
    rationale, and else 1.
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
