"""T5 geometries with random weights from a fixed seed. No text ends early."""

import random
from dataclasses import dataclass
from typing import Any

FIRST_WORD = 5  # the ids before it are special tokens and prefixes
UNUSED = 28  # ids at the end of T5's vocabulary that its tokenizer does not have


@dataclass(frozen=True)
class Geometry:
    name: str
    shape: dict[str, Any]  # of transformers' T5Config
    words: int  # tokens of the tokenizer
    input_tokens: int
    rationale_tokens: int

    def texts(self, count: int) -> tuple[str, ...]:
        """Inputs of `input_tokens` tokens with a prefix and the end token, no two the same."""
        chance = random.Random(0)
        return tuple(self._words(chance, self.input_tokens - 2) for _ in range(count))

    def candidates(self, count: int = 3) -> tuple[str, ...]:
        """Labels of 3 tokens with the end token."""
        chance = random.Random(1)
        return tuple(self._words(chance, 2) for _ in range(count))

    def _words(self, chance: random.Random, count: int) -> str:
        return " ".join(f"w{chance.randrange(FIRST_WORD, self.words)}" for _ in range(count))


LABEL_TOKENS = 3
TINY = Geometry(
    "T5-tiny",
    {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    words=600,
    input_tokens=16,
    rationale_tokens=6,
)
SMALL = Geometry(
    "T5-small",
    {"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8},
    words=32_100,
    input_tokens=64,
    rationale_tokens=48,
)
BASE = Geometry(
    "T5-base",
    {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
    words=32_100,
    input_tokens=64,
    rationale_tokens=48,
)
