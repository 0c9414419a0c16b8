"""A request to a chat model and the completion that comes back."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Request:
    """The body of a request, whole, and the key that its completion is kept by."""

    key: str
    body: dict[str, Any]

    @classmethod
    def of(cls, body: dict[str, Any], *more: Any) -> Self:
        """The request of a body; `more` tells apart requests that have the same body."""
        content = json.dumps([body, *more], sort_keys=True)
        return cls(hashlib.sha256(content.encode()).hexdigest(), body)


@dataclass(frozen=True)
class Completion:
    """What came back of one request.

    `text` is None where the endpoint refused the request, and `refused` says why. Tokens are as the
    endpoint counted them. Where it did not, they are guessed from the lengths of the texts.
    """

    text: str | None
    finish_reason: str | None = None
    model: str | None = None  # as the endpoint calls itself
    refused: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_guessed: bool = False


Answered = Callable[[str], Completion | None]  # by a request's key; None where it has no answer
