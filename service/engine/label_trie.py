"""A closed label set as a trie of tokens. Labels with the same first tokens share nodes."""

from collections.abc import Sequence


class LabelTrie:
    """A trie over distinct labels, given as texts and as token ids with the end token.

    A node stands for one token after the tokens above it. Nodes are in preorder: a node's
    descendants directly follow it.
    """

    def __init__(self, labels: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
        self.labels = tuple(labels)
        self.tokens: list[int] = []  # by node
        self.parents: list[int] = []  # by node; -1: none
        self.places: list[int] = []  # by node: its depth; 0 for a first token
        self.ends = [0] * len(ids)  # by label: its last node
        path: list[int] = []
        before: Sequence[int] = ()
        for label in sorted(range(len(ids)), key=lambda label: tuple(ids[label])):  # preorder
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
        """The number of nodes."""
        return len(self.tokens)

    def ancestors(self, node: int) -> list[int]:
        """The nodes above a node, from the first token down."""
        above: list[int] = []
        while (node := self.parents[node]) >= 0:
            above.append(node)
        return above[::-1]

    def label_tokens(self, label: int) -> list[int]:
        """The token ids of a label, with the end token."""
        end = self.ends[label]
        return [self.tokens[node] for node in (*self.ancestors(end), end)]


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """The length of the common prefix."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
