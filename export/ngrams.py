"""The table of drafts: the likeliest next token after the last few tokens of a text."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from export.bundle import DRAFT_HEADER, DRAFT_ORDER, context_hashes

MIN_COUNT = 2  # a context seen once says little about the next text


def write_draft_table(
    path: Path, texts: Iterable[Sequence[int]], *, start_id: int, max_bytes: int
) -> int:
    """Writes the table of the texts' n-grams, if there are any. Returns the number of contexts.

    `texts` are token ids that follow `start_id`. If `max_bytes` are too few for all contexts, keeps
    the most frequent ones.
    """
    counts: defaultdict[int, Counter[int]] = defaultdict(Counter)  # by a context's hash
    for text in texts:
        tokens = [start_id, *text]
        for i in range(1, len(tokens)):
            for value in context_hashes(tokens[max(0, i - DRAFT_ORDER) : i]):
                counts[value][tokens[i]] += 1
    seen = {value: nexts.total() for value, nexts in counts.items()}
    contexts = [value for value in seen if seen[value] >= MIN_COUNT]
    slots = min(2 * len(contexts), (max_bytes - len(DRAFT_HEADER)) // 8)
    if slots <= 0:
        return 0
    table = np.zeros((slots, 2), "<u4")
    held = 0
    for value in sorted(contexts, key=seen.__getitem__, reverse=True):
        slot = (value >> 32) % slots
        if not table[slot].any():
            token, count = counts[value].most_common(1)[0]
            table[slot] = value & 0xFFFFFFFF, (255 * count // seen[value]) << 24 | token
            held += 1
    path.write_bytes(DRAFT_HEADER + table.tobytes())
    return held
