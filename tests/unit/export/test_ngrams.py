from pathlib import Path

from export.bundle import DRAFT_HEADER, context_hashes
from export.ngrams import write_draft_table
from service.engine.draft import NgramTable

START = 0


def test_the_longest_context_tells_what_comes_next(tmp_path: Path) -> None:
    path = tmp_path / "draft.bin"
    texts = [[5, 6, 7, 1]] * 3 + [[8, 6, 9, 1]] * 5
    held = write_draft_table(path, texts, start_id=START, max_bytes=100_000)
    assert held > 0
    table = NgramTable(path, vocab_size=10)
    for tokens, token, share in (
        ([START], 8, 5 / 8),
        ([START, 5], 6, 1.0),
        ([6], 9, 5 / 8),
        ([3, 6], 9, 5 / 8),  # 3 was never seen
        ([5, 6], 7, 1.0),
        ([START, 8, 6, 9], 1, 1.0),
    ):
        guess = table.next(tokens)
        assert guess is not None
        assert guess[0] == token
        assert share - 1 / 255 < guess[1] <= share
    assert table.next([2]) is None


def test_what_was_seen_once_is_left_out(tmp_path: Path) -> None:
    texts = [[5, 6, 1], [7, 1]]
    write_draft_table(tmp_path / "draft.bin", texts, start_id=START, max_bytes=100_000)
    table = NgramTable(tmp_path / "draft.bin", vocab_size=10)
    assert table.next([START]) is not None
    assert table.next([5]) is None


def test_a_small_table_holds_what_is_frequent(tmp_path: Path) -> None:
    path = tmp_path / "draft.bin"
    texts = [[2, 3]] * 50 + [[10 + i, 60 + i] for i in range(40) for _ in range(2)]
    max_bytes = len(DRAFT_HEADER) + 8 * 20
    held = write_draft_table(path, texts, start_id=START, max_bytes=max_bytes)
    assert path.stat().st_size <= max_bytes
    assert 0 < held <= 20
    assert NgramTable(path, vocab_size=100).next([START]) == (2, 50 * 255 // 130 / 255)


def test_without_n_grams_there_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "draft.bin"
    assert write_draft_table(path, [[5, 6, 1]], start_id=START, max_bytes=10_000) == 0
    assert write_draft_table(path, [[5, 1]] * 3, start_id=START, max_bytes=20) == 0
    assert not path.exists()


def test_a_hash_is_of_the_last_tokens() -> None:
    hashes = context_hashes([1, 2, 3, 4, 5, 6])
    assert hashes == context_hashes([3, 4, 5, 6])
    assert hashes[:2] == context_hashes([5, 6])
    assert len({*hashes, *context_hashes([3, 4, 6, 5])}) == 8
