"""Label sets for tests, made of arbitrary tokens."""

import random
from collections.abc import Sequence

from service.engine.label_trie import LabelTrie

ALPHABET = 6  # few tokens, so that random labels share beginnings


def trie_of(labels: Sequence[list[int]]) -> LabelTrie:
    """The trie of these labels. The text of each label lists its tokens."""
    return LabelTrie([str(label) for label in labels], labels)


def random_labels(rng: random.Random, count: int, longest: int) -> list[list[int]]:
    """Different labels with shared beginnings. Some are the beginning of others."""
    labels: dict[tuple[int, ...], None] = {}
    while len(labels) < count:
        labels[tuple(rng.choices(range(10, 10 + ALPHABET), k=rng.randint(1, longest)))] = None
    return [[*label, 1] for label in labels]
