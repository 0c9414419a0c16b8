"""What is asked of the engine, and what it answers."""

from dataclasses import dataclass

from export.bundle import Manifest
from service.engine.text import Input


@dataclass(frozen=True)
class PredictRequest:
    """What is asked about an input.

    `top_k` is how many scores of a closed label set to give, `max_rationale_tokens` how long the
    rationale may be; None: as many as there are, and as long as the bundle allows. With `truncate`
    an input that is too long loses its end.
    """

    input: Input
    explain: bool = False
    top_k: int | None = None
    max_rationale_tokens: int | None = None
    truncate: bool = False


@dataclass(frozen=True)
class Score:
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
class Labelled:
    """`model` is the one that answered, whatever bears its name by now."""

    model: Manifest
    label: str
    confidence: float
    answer: float | None
    scores: tuple[Score, ...]
    timings: Timings


@dataclass(frozen=True)
class Prediction(Labelled):
    rationale: str | None
    decoder_passes: int
    usage: Usage
