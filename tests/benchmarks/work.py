"""The work of the peers, and their answers: plain data that processes exchange."""

from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer

Wants = Literal["label", "rationale", "both"]


@dataclass(frozen=True)
class Work:
    """Some inputs of one task, to be answered together. Token ids include the end token."""

    wants: Wants
    texts: tuple[str, ...]
    label_prompts: list[list[int]]
    rationale_prompts: list[list[int]]
    candidates: tuple[str, ...] | None  # None: the label is written freely
    label_tokens: int  # of every label; of the longest one where `exact` is false
    rationale_tokens: int  # of every rationale; of the longest one where `exact` is false
    exact: bool  # whether every text has exactly that many tokens


@dataclass(frozen=True)
class Answers:
    """Texts by input, and how many tokens each rationale has.

    There are no labels where a peer wrote them freely, though they should be of a closed set.
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
