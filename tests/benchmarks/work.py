"""What the peers are asked to do, and what comes back: plain data that goes between processes."""

from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer

Wants = Literal["label", "rationale", "both"]


@dataclass(frozen=True)
class Work:
    """Some inputs of one task, to be answered together. Token ids hold the end token."""

    wants: Wants
    texts: tuple[str, ...]
    label_prompts: list[list[int]]
    rationale_prompts: list[list[int]]
    candidates: tuple[str, ...] | None  # None: the label is written freely
    label_tokens: int  # of every label, or where `exact` is false, of the longest one
    rationale_tokens: int  # likewise
    exact: bool  # whether every text has as many tokens as it may have


@dataclass(frozen=True)
class Answers:
    """Texts by input, and how many tokens each rationale has.

    No labels where they were written freely though they should be of a closed set.
    """

    labels: list[str]
    rationales: list[str]
    rationale_tokens: list[int]


def work_on(
    tokenizer: Tokenizer,
    texts: tuple[str, ...],
    wants: Wants,
    *,
    label_tokens: int,
    rationale_tokens: int,
    candidates: tuple[str, ...] | None = None,
    exact: bool = False,
) -> Work:
    def ids(prefix: str) -> list[list[int]]:
        return [tokenizer.encode(prefix + text).ids for text in texts]

    return Work(
        wants,
        texts,
        ids("predict: "),
        ids("explain: "),
        candidates,
        label_tokens,
        rationale_tokens,
        exact,
    )
