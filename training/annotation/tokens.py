"""Guesses of token counts, before an endpoint has counted, or where it never does."""

import json
from typing import Any

BYTES_A_TOKEN = 3  # of most texts more: guesses are rather too many than too few
LIMITS = ("max_completion_tokens", "max_tokens")  # of an answer, in a request's body


def tokens_in(text: str) -> int:
    return len(text.encode()) // BYTES_A_TOKEN


def answer_limit(body: dict[str, Any]) -> int | None:
    """The most tokens that the answer to a request may have; None where it may have any number."""
    limits = [body[name] for name in LIMITS if isinstance(body.get(name), int)]
    return min(limits, default=None)


def guess_tokens(body: dict[str, Any]) -> tuple[int, int]:
    """The tokens that a request's messages may have, and its answer."""
    asked = sum(tokens_in(message["content"]) for message in body["messages"])
    return asked, answer_limit(body) or 0


def most_tokens(body: dict[str, Any]) -> tuple[int, int]:
    """More tokens than a request can have, as each is a byte at least, and its answer's most."""
    return len(json.dumps(body, ensure_ascii=False).encode()), answer_limit(body) or 0
