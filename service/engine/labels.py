"""Labels in one pass: a closed set as a trie, whose every node is a new token of the same step.

A node is a label's token after the tokens before it, the end token included, so labels that begin
alike share nodes. It goes into the decoder as its parent's token, at the place of its depth, and
sees its ancestors alone; what comes out is the log-probability of its own token. The sums along the
way to the ends are the labels' exact log-probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from service.engine.job import Row
from service.engine.runner import NewTokens, Runner
from service.engine.slots import Array, Slots

STEP_TOKENS = 128  # of a step, which bounds the memory for their logits
SHORT = 16  # new tokens of a row, up to which it is not worth it to split them


class LabelTrie:
    """Different labels, as texts and as token ids with the end token.

    Nodes are in preorder: the nodes below a node directly follow it.
    """

    def __init__(self, labels: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
        self.labels = tuple(labels)
        self.lengths = [len(tokens) for tokens in ids]  # tokens, by label
        self.tokens: list[int] = []
        self.parents: list[int] = []  # -1: none
        self.places: list[int] = []  # 0 for a first token
        self.ends = [0] * len(ids)  # node, by label
        path: list[int] = []
        before: Sequence[int] = ()
        for label in sorted(
            range(len(ids)), key=lambda label: tuple(ids[label])
        ):  # sorted, so in preorder
            tokens = ids[label]
            shared = _shared(before, tokens)
            del path[shared:]
            for token in tokens[shared:]:
                self.tokens.append(token)
                self.parents.append(path[-1] if path else -1)
                self.places.append(len(path))
                path.append(len(self.tokens) - 1)
            self.ends[label] = path[-1]
            before = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def ancestors(self, node: int) -> list[int]:
        """The nodes above a node, the first token's first."""
        above: list[int] = []
        while (node := self.parents[node]) >= 0:
            above.append(node)
        return above[::-1]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


@dataclass(eq=False)
class Scoring(Row):
    """The log-probability of every label after a prompt. A large trie takes several steps.

    It goes through the cache part by part, each of `STEP_TOKENS` nodes at most. Parts do not depend
    on how many nodes a step has room for: so an entry's index in the cache does not, and neither
    does the last digit of a sum over it.
    """

    trie: LabelTrie
    scored: int = 0  # nodes
    begin: int = 0  # of the part, the first node; all nodes above it are in the cache before it
    sums: list[float] = field(default_factory=list)  # by scored node, down to it

    @property
    def end(self) -> int:
        """Of the part."""
        return min(self.begin + STEP_TOKENS, len(self.trie))

    def entry(self, node: int) -> int:
        """The index in the cache of a node of this part, or of one above it."""
        place = self.trie.places[node]
        return place if node < self.begin else self.trie.places[self.begin] + node - self.begin

    @property
    def logprobs(self) -> Array:
        """By label."""
        return np.array([self.sums[end] for end in self.trie.ends])

    @property
    def tokens(self) -> list[int]:
        """Of the most probable label; of equals, the first."""
        end = self.trie.ends[int(np.argmax(self.logprobs))]
        return [self.trie.tokens[node] for node in (*self.trie.ancestors(end), end)]

    def accept(self, chunk: range, logprobs: Sequence[float]) -> list[int] | None:
        """Adds the log-probabilities of the next nodes.

        At the end of a part, returns the entries of the cache that the next one needs.
        """
        for node, logprob in zip(chunk, logprobs, strict=False):
            parent = self.trie.parents[node]
            self.sums.append(logprob + (self.sums[parent] if parent >= 0 else 0.0))
        self.scored = chunk.stop
        self.done = self.scored == len(self.trie)
        if self.done or self.scored < self.end:
            return None
        kept = [self.entry(above) for above in self.trie.ancestors(self.scored)]
        self.begin = self.scored
        return kept


def rank(logprobs: Array, temperature: float) -> tuple[list[int], list[float]]:
    """The labels from the most probable to the least, and the probability of each label.

    Probabilities are the softmax of the log-probabilities over the temperature (Guo et al., 2017).
    """
    weights = np.exp((logprobs - logprobs.max()) / temperature)
    return np.argsort(-logprobs, kind="stable").tolist(), (weights / weights.sum()).tolist()


def score_step(runner: Runner, slots: Slots, rows: Sequence[Scoring]) -> None:
    """Takes the next nodes of each row's trie through one step: all of them, if they are few."""
    waiting = [row.end - row.scored for row in rows]
    # no wider than the shortest row needs, for it pays for the width of all
    width = min(max(waiting), max(min(waiting), SHORT), max(1, STEP_TOKENS // len(rows)))
    chunks = [
        range(row.scored, row.scored + min(width, left))
        for row, left in zip(rows, waiting, strict=True)
    ]
    start_id = runner.model.decoder_start_id
    ids, positions, targets = np.zeros((3, len(rows), width), np.int64)
    for i, (row, chunk) in enumerate(zip(rows, chunks, strict=True)):
        with row:
            trie, new = row.trie, slice(len(chunk))
            parents = [trie.parents[node] for node in chunk]
            ids[i, new] = [trie.tokens[parent] if parent >= 0 else start_id for parent in parents]
            positions[i, new] = [trie.places[node] for node in chunk]
            targets[i, new] = [trie.tokens[node] for node in chunk]
    slots.open_step(positions)
    visible = np.zeros((len(rows), width, slots.width), np.bool_)
    for i, (row, chunk) in enumerate(zip(rows, chunks, strict=True)):
        with row:
            for j, node in enumerate(chunk):
                parent = row.trie.parents[node]
                if parent >= chunk.start:
                    visible[i, j] = visible[i, parent - chunk.start]
                else:
                    visible[i, j, [row.entry(above) for above in row.trie.ancestors(node)]] = True
                visible[i, j, row.entry(node)] = True
    logprobs = runner.step(slots, NewTokens(ids, positions, visible, targets)).target_logprob
    for i, (row, chunk) in enumerate(zip(rows, chunks, strict=True)):
        with row:
            kept = row.accept(chunk, logprobs[i].tolist())
            if kept is None:
                slots.lengths[i] += len(chunk)
            else:
                slots.keep(i, kept)
