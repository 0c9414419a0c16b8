from service.engine.label_trie import LabelTrie
from tests.support.label_tries import trie_of


def test_labels_share_nodes() -> None:
    labels = [[5, 6, 1], [5, 1], [7, 1], [5, 6, 8, 1]]
    trie = trie_of(labels)
    assert len(trie) == len(
        {tuple(label[:i]) for label in labels for i in range(1, len(label) + 1)}
    )
    assert [trie.label_tokens(i) for i in range(4)] == labels


def test_texts_that_read_alike_share_an_end() -> None:
    trie = LabelTrie(["a", "a "], [[5, 1], [5, 1]])
    assert len(trie) == 2
    assert trie.ends[0] == trie.ends[1]
