"""Closed labels: one step over their trie gives the exact log-probability of each label.

The decoder reads, for each node, the token of its parent, at the position of the node's depth. The
node attends to its ancestors and itself only. The output is the log-probability of the node's own
token. A label's log-probability is the sum over the nodes on its path.
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

    The trie is split into parts of at most `STEP_TOKENS` nodes, one part in the cache at a time.
    Neither the parts nor a node's index in the cache depend on how much room a step has. So the
    other sequences in a step change no digit of a log-probability.
    """

    def __init__(self, prompt: list[int], trie: LabelTrie) -> None:
        super().__init__(prompt)
        self.trie = trie
        self.width = len(trie)
        self.scored = 0  # nodes
        self.begin = 0  # first node of the part; its ancestors come before it in the cache
        self.sums: list[float] = []  # nats, by scored node: the sum from the root down to it

    @property
    def end(self) -> int:
        """The node after the part."""
        return min(self.begin + STEP_TOKENS, len(self.trie))

    @property
    def logprobs(self) -> list[float]:
        """The log-probability of each label, in nats."""
        return [self.sums[end] for end in self.trie.ends]

    def propose(self, model: Geometry, most: int, floor: float) -> Proposal:
        """The next nodes of the part. All of them are useful."""
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
        """Adds the nodes' log-probabilities. Returns the cache entries to keep.

        At the end of a part, those are the ancestors of the next part's first node.
        """
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
        """A score for every label: the probability that it is the right one. They add up to 1."""
        order, probabilities = rank(self.logprobs, calibration.temperature)
        return tuple(Score(self.trie.labels[i], probabilities[i]) for i in order)

    def _entry(self, node: int) -> int:
        """The cache index of a node of this part, or of an ancestor of the part."""
        place = self.trie.places[node]
        return place if node < self.begin else self.trie.places[self.begin] + node - self.begin
