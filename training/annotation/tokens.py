"""Guesses of token counts, before an endpoint has counted, or where it never does."""

import json
from typing import Any

BYTES_A_TOKEN = 3  # most texts have more, so guesses are too high rather than too low
LIMITS = ("max_completion_tokens", "max_tokens")  # of an answer, in a request's body


def tokens_in(text: str) -> int:
    return len(text.encode()) // BYTES_A_TOKEN


def answer_limit(body: dict[str, Any]) -> int | None:
    """The most tokens of a request's answer; None without a limit."""
    limits = [body[name] for name in LIMITS if isinstance(body.get(name), int)]
    return min(limits, default=None)


def guess_tokens(body: dict[str, Any]) -> tuple[int, int]:
    """A guess of the tokens of a request's messages, and of its answer."""
    asked = sum(tokens_in(message["content"]) for message in body["messages"])
    return asked, answer_limit(body) or 0


def most_tokens(body: dict[str, Any]) -> tuple[int, int]:
    """Upper bounds: the tokens of a request's messages (one for each byte), and of its answer."""
    return len(json.dumps(body, ensure_ascii=False).encode()), answer_limit(body) or 0
