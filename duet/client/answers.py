"""What a service is asked, and what it answers."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from pydantic import BaseModel

Input = str | Mapping[str, str | Sequence[str]]  # the task's fields, or the text of its only field
Fields = dict[str, str | list[str]]


class Options(TypedDict, total=False):
    """The options of a request. The service's /docs describes them."""

    model: str
    explain: bool
    top_k: int
    max_rationale_tokens: int
    truncate: bool


class Score(BaseModel):
    label: str
    score: float


class Usage(BaseModel):
    """Counts of tokens (end tokens included) and of decoder steps.

    `truncated`: the input was too long and was cut at its end.
    """

    input_tokens: int
    label_tokens: int
    rationale_tokens: int
    decoder_steps: int
    accepted_tokens: int
    truncated: bool


class _Labelled(BaseModel):
    label: str
    confidence: float
    answer: float | None = None  # the value of an equation
    scores: list[Score]


class Label(_Labelled):
    """The first event of a stream."""


class Answer(_Labelled):
    """The whole answer to one input. `rationale` is None if it was not asked for."""

    rationale: str | None = None
    decoder_passes: int
    model: str
    version: str
    usage: Usage


class ModelInfo(BaseModel):
    """A loaded model, as its bundle describes it."""

    name: str
    version: str
    checksum: str  # SHA-256 of the bundle's manifest, and so of every file of the bundle
    default: bool
    task: dict[str, Any]
    precision: str
    limits: dict[str, int]
    explains: bool = True  # whether it may be asked to explain; older services do not tell
    metrics: dict[str, dict[str, float | int | str]]
    provenance: dict[str, Any]
    license: str
    form: Fields
    examples: list[Fields]


class ServiceInfo(BaseModel):
    """The service's version, its models and its limits. `timeout` is in seconds."""

    version: str
    default_model: str
    models: list[str]
    max_client_batch: int
    max_body_bytes: int
    max_rows: int
    max_queue: int
    timeout: float
    threads: int


class DuetError(Exception):
    """The service refused the request or failed. The message is the service's own.

    `status` is the HTTP status, None for an error in a stream. `error_type` is the kind of error,
    for programs; "not_duet": the answer did not come from a Duet service.
    """

    def __init__(self, message: str, error_type: str, status: int | None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.status = status
