from pathlib import Path

import pytest

from export.bundle import DRAFT_HEADER, BundleError
from export.ngrams import write_draft_table
from service.engine.draft import MAX_DRAFT, QUOTED, Drafter, NgramTable

START, END = 0, 1


@pytest.fixture
def table(tmp_path: Path) -> NgramTable:
    path = tmp_path / "draft.bin"
    write_draft_table(path, [[5, 6, 7, 8, 9, END]] * 3, start_id=START, max_bytes=10_000)
    return NgramTable(path, vocab_size=10)


def drafted(drafter: Drafter, limit: int = 99, floor: float = 0.0) -> list[int]:
    return drafter.draft(limit, floor or 0.01, END)[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a table of drafts"),
        (DRAFT_HEADER, "not a table of drafts"),
        (DRAFT_HEADER + bytes(12), "not a table of drafts"),
        (b"DUETDRAFT\0\0\0\2\0\0\0" + bytes(16), "not a table of drafts"),
        (DRAFT_HEADER + b"\1\0\0\0\xff\xff\0\xff", "tokens that the model does not know"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "draft.bin").write_bytes(content)
    with pytest.raises(BundleError, match=rf"draft\.bin: .*{message}"):
        NgramTable(tmp_path / "draft.bin", vocab_size=100)


def test_a_text_that_quotes_its_prompt_goes_on_as_the_prompt_did() -> None:
    drafter = Drafter([21, 22, 23, 24, 25, 26, END], START, None)
    assert drafted(drafter) == []
    drafter.extend([30, 21, 22])
    assert drafted(drafter) == [23, 24, 25, 26]  # and not the end
    tokens, probabilities = drafter.draft(3, 0.01, END)
    assert tokens == [23, 24, 25]
    assert probabilities == pytest.approx([QUOTED[2], QUOTED[2] * QUOTED[3], 0.5 * 0.5 * 0.9])


def test_the_last_of_several_quotes_counts() -> None:
    drafter = Drafter([21, 22, 23, 21, 22, 24, END], START, None)
    drafter.extend([21, 22])
    assert drafted(drafter, limit=1) == [24]


def test_the_table_knows_how_texts_begin(table: NgramTable) -> None:
    drafter = Drafter([9, 9, END], START, table)
    assert drafted(drafter) == [5, 6, 7, 8, 9]
    drafter.extend([5, 6])
    assert drafted(drafter) == [7, 8, 9]


def test_the_likelier_of_two_guesses_is_taken(table: NgramTable) -> None:
    drafter = Drafter([5, 6, 3, END], START, table)
    drafter.extend([5, 6])
    assert drafted(drafter, limit=1) == [7]  # three times of three, beside one quote


def test_a_draft_is_as_long_as_it_is_likely(table: NgramTable) -> None:
    prompt = [20 + i for i in range(40)]
    drafter = Drafter(prompt, START, table)
    drafter.extend(prompt[:4])
    assert len(drafted(drafter)) == MAX_DRAFT
    assert len(drafted(drafter, floor=QUOTED[4] ** 3)) == 3
    assert drafted(drafter, limit=0) == []


def test_what_is_not_accepted_is_trusted_less() -> None:
    prompt = [20 + i for i in range(40)]
    drafter = Drafter(prompt, START, None)
    drafter.extend(prompt[:4])
    before = len(drafted(drafter, floor=0.3))
    drafter.learn(expected=4.0, accepted=0)
    assert len(drafted(drafter, floor=0.3)) < before
    drafter.learn(expected=4.0, accepted=8)
    assert len(drafted(drafter, floor=0.3)) == before
