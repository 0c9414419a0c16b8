"""Closed labels: the exact log-probability of each, with every node of their trie in one step.

A node goes into the decoder as its parent's token, at the place of its depth, and sees its
ancestors alone. What comes out is the log-probability of its own token. The sums along the way to
the ends are the labels' exact log-probabilities.
"""

from collections.abc import Callable

from export.bundle import Geometry
from service.engine.confidence import rank
from service.engine.label_trie import LabelTrie
from service.engine.prediction import Score
from service.engine.sequence import Proposal, Sequence
from service.engine.step import STEP_TOKENS
from tasks.calibration import Calibration


class LabelSequence(Sequence):
    """The log-probability of every label after a prompt. A large trie takes several steps.

    It goes through the cache part by part, each of `STEP_TOKENS` nodes at most. Parts do not depend
    on how many nodes a step has room for. So neither does a node's index in the cache, and no digit
    of its log-probability depends on the neighbours.
    """

    def __init__(self, prompt: list[int], trie: LabelTrie) -> None:
        super().__init__(prompt)
        self.trie = trie
        self.width = len(trie)
        self.scored = 0  # nodes
        self.begin = 0  # first node of the part; all nodes above it are in the cache before it
        self.sums: list[float] = []  # nats, by scored node: of the tokens down to it

    @property
    def end(self) -> int:
        """The node after the part."""
        return min(self.begin + STEP_TOKENS, len(self.trie))

    @property
    def logprobs(self) -> list[float]:
        """The log-probability of each label, in nats."""
        return [self.sums[end] for end in self.trie.ends]

    def propose(self, model: Geometry, most: int, floor: float) -> Proposal:
        """The next nodes of the part. Each of them is of use."""
        trie = self.trie
        nodes = range(self.scored, min(self.scored + most, self.end))
        parents = [trie.parents[node] for node in nodes]
        visible: list[list[int]] = []
        for node, parent in zip(nodes, parents, strict=True):
            if parent >= nodes.start:
                above = visible[parent - nodes.start]
            else:
                above = [self._entry(ancestor) for ancestor in trie.ancestors(node)]
            visible.append([*above, self._entry(node)])
        return Proposal(
            ids=[
                trie.tokens[parent] if parent >= 0 else model.decoder_start_id for parent in parents
            ],
            useful=[1.0] * len(nodes),
            positions=[trie.places[node] for node in nodes],
            visible=visible,
            target_ids=[trie.tokens[node] for node in nodes],
        )

    def accept(
        self, proposal: Proposal, next_ids: list[int], logprobs: list[float], end_id: int
    ) -> list[int] | range:
        """Adds the nodes' log-probabilities. At the end of a part, keeps what the next one sees."""
        for logprob in logprobs[: len(proposal.ids)]:
            parent = self.trie.parents[self.scored]
            self.sums.append(logprob + (self.sums[parent] if parent >= 0 else 0.0))
            self.scored += 1
        if self.scored == len(self.trie):
            self.done = True
            by_label = self.logprobs
            self.tokens = self.trie.label_tokens(by_label.index(max(by_label)))
        elif self.scored == self.end:
            kept = [self._entry(node) for node in self.trie.ancestors(self.scored)]
            self.begin = self.scored
            return kept
        return range(self._entry(self.scored - 1) + 1)

    def scores(
        self, calibration: Calibration, decode: Callable[[list[int]], str]
    ) -> tuple[Score, ...]:
        """A score for every label: the probability that it is right, of all labels together."""
        order, probabilities = rank(self.logprobs, calibration.temperature)
        return tuple(Score(self.trie.labels[i], probabilities[i]) for i in order)

    def _entry(self, node: int) -> int:
        """The index in the cache of a node of this part, or of one above it."""
        place = self.trie.places[node]
        return place if node < self.begin else self.trie.places[self.begin] + node - self.begin
