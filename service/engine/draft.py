"""Drafts: guesses of the next tokens of a text; a step verifies them (Leviathan et al., 2023).

They come from two sources. One is n-grams of the prompt and of the text so far, because a rationale
quotes its input (prompt lookup: Saxena, 2023). The other is the bundle's table of n-grams that its
student often writes.
"""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from export.bundle import DRAFT_HEADER, DRAFT_ORDER, BundleError, context_hashes

MAX_DRAFT = 15  # tokens
# By n: how often a text repeats the token that last followed the same n tokens. Measured on word
# problems.
QUOTED = {4: 0.9, 3: 0.5, 2: 0.5}


class NgramTable:
    """The n-grams of a bundle's `draft.bin`. Raises BundleError if the file is not such a table.

    The file is read, not mapped into memory: an export may overwrite it.
    """

    def __init__(self, path: Path, vocab_size: int) -> None:
        with path.open("rb") as file:
            header = file.read(len(DRAFT_HEADER))
        size = path.stat().st_size - len(DRAFT_HEADER)
        if header != DRAFT_HEADER or size <= 0 or size % 8:
            raise BundleError(f"{path}: not a table of drafts in the format that this Duet reads")
        table = np.fromfile(path, "<u4", offset=len(DRAFT_HEADER)).reshape(-1, 2)
        if (table[:, 1] & 0xFFFFFF).max() >= vocab_size:
            raise BundleError(f"{path}: has tokens that the model does not know")
        self._slots = len(table)
        self._cells = table.reshape(-1).data

    def next(self, tokens: Sequence[int]) -> tuple[int, float] | None:
        """The most frequent next token, and how often it comes next, from 0 to 1.

        Uses the longest context at the end of `tokens` that the table has; None if it has none.
        """
        for value in reversed(context_hashes(tokens)):
            cell = 2 * ((value >> 32) % self._slots)
            if self._cells[cell] == value & 0xFFFFFFFF:
                token, share = self._cells[cell + 1] & 0xFFFFFF, self._cells[cell + 1] >> 24
                return token, share / 255
        return None


class Drafter:
    """Guesses the next tokens of one text, and learns how many of its guesses were right."""

    def __init__(self, prompt: Sequence[int], start_id: int, table: NgramTable | None) -> None:
        self._tokens: list[int] = []
        self._begin = len(prompt)  # where the text begins in `_tokens`
        self._table = table
        self._quotes: dict[tuple[int, ...], int] = {}  # n-gram: the token that last followed it
        self._expected = self._accepted = 0.0  # drafted tokens
        self.extend([*prompt, start_id])

    def extend(self, tokens: Sequence[int]) -> None:
        """Adds tokens to the text."""
        for token in tokens:
            for n in QUOTED:
                if len(self._tokens) >= n:
                    self._quotes[tuple(self._tokens[-n:])] = token
            self._tokens.append(token)

    def learn(self, expected: float, accepted: int) -> None:
        """Records how many of a draft's tokens were expected to be right, and how many were."""
        self._expected += expected
        self._accepted += accepted

    def draft(self, limit: int, floor: float, end_id: int) -> tuple[list[int], list[float]]:
        """The drafted tokens, and for each the probability that it and all before it are right.

        The draft has at most `limit` and at most MAX_DRAFT tokens. It stops before the first token
        whose probability is less than `floor`, and before `end_id`.
        """
        trust = min(1.0, (1 + self._accepted) / (1 + self._expected))
        recent = self._tokens[-DRAFT_ORDER:]
        drafted: list[int] = []
        probabilities: list[float] = []
        probability = 1.0
        while len(drafted) < min(limit, MAX_DRAFT):
            token, share = max(self._guesses(recent, len(drafted)), key=itemgetter(1))
            probability *= share * trust
            if probability < floor or token == end_id:  # a drafted end token saves no step
                break
            drafted.append(token)
            probabilities.append(probability)
            recent = [*recent, token][-DRAFT_ORDER:]
        return drafted, probabilities

    def _guesses(self, recent: list[int], drafted: int) -> Iterator[tuple[int, float]]:
        """Yields the tokens that may come next, each with its probability.

        The last `drafted` of the recent tokens are drafted.
        """
        yield 0, 0.0
        for n, share in QUOTED.items():
            token = self._quotes.get(tuple(recent[-n:]))
            if token is not None:
                yield token, share
                break
        if self._table is not None:
            of_text = len(self._tokens) - self._begin + drafted
            if guess := self._table.next(recent[-of_text:]):
                yield guess
