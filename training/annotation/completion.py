"""A request to a chat model and the completion that comes back."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    """The whole body of a request, and the key of its completion."""

    key: str
    body: dict[str, Any]

    @classmethod
    def of(cls, body: dict[str, Any], *more: Any) -> Self:
        """The request of a body; `more` distinguishes requests that have the same body."""
        content = json.dumps([body, *more], sort_keys=True)
        return cls(hashlib.sha256(content.encode()).hexdigest(), body)


@dataclass(frozen=True)
class Completion:
    """What the endpoint sent for one request.

    `text` is None where the endpoint refused the request, and `refused` says why. Token counts are
    the endpoint's. Where it gives none, they are guessed from the lengths of the texts.
    """

    text: str | None
    finish_reason: str | None = None
    model: str | None = None  # the endpoint's own name for it
    refused: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_guessed: bool = False


Answered = Callable[[str], Completion | None]  # by a request's key; None: no answer yet
