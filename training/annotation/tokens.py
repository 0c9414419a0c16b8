"""Guesses of token counts, before an endpoint has counted, or where it never does."""

from typing import Any

CHARACTERS_A_TOKEN = 3  # of most texts more: guesses are rather too many than too few


def tokens_in(texts: list[str]) -> int:
    return sum(map(len, texts)) // CHARACTERS_A_TOKEN


def guess_tokens(body: dict[str, Any]) -> tuple[int, int]:
    """The tokens of a request's messages, and the most that its answer may have."""
    most = body.get("max_tokens") or body.get("max_completion_tokens") or 0
    return tokens_in([message["content"] for message in body["messages"]]), int(most)
