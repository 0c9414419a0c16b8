import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.fake_teacher import environment
from tests.support.server_process import TIMEOUT
from training.annotation.journal import Answer, Journal, JournalError, Spent

WHOLE = Answer("So “so”.\nAnswer: 7", "stop", "teacher-1", None, 30, 4, tokens_guessed=False)
REFUSED = Answer(None, refused="too long")


def keep(path: Path, **answers: Answer) -> None:
    with Journal(path) as journal:
        for key, answer in answers.items():
            asyncio.run(journal.append(key, answer))


def found(path: Path, *keys: str) -> list[Answer | None]:
    with Journal(path) as journal:
        return [journal.get(key) for key in keys]


def test_answers_are_kept_by_key_and_what_they_took_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.answers.jsonl"
    keep(path, one=WHOLE, two=REFUSED)
    keep(path, three=Answer("Why?", input_tokens=5, output_tokens=1, tokens_guessed=True))
    with Journal(path) as journal:
        assert [journal.get(key) for key in ("one", "two", "four")] == [WHOLE, REFUSED, None]
        assert journal.spent == Spent(3, 35, 5, tokens_guessed=True)
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == [
        "one",
        "two",
        "three",
    ]


def test_what_is_forgotten_can_be_asked_again_and_was_paid_for(tmp_path: Path) -> None:
    path = tmp_path / "a.answers.jsonl"
    keep(path, one=WHOLE, two=WHOLE)
    with Journal(path) as journal:
        journal.forget(["one"])
        assert (journal.get("one"), journal.get("two")) == (None, WHOLE)
    assert found(path, "one", "two") == [None, WHOLE]
    keep(path, one=REFUSED)
    with Journal(path) as journal:
        assert journal.get("one") == REFUSED
        assert journal.spent == Spent(3, 60, 8)


@pytest.mark.parametrize("removed", [1, 2, 30, 150])
def test_a_last_line_that_was_cut_is_dropped_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, removed: int
) -> None:
    path = tmp_path / "a.answers.jsonl"
    keep(path, one=WHOLE, two=WHOLE)
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.truncate(len(content) - removed)
    with caplog.at_level(logging.WARNING):
        answers = found(path, "one", "two")
    if removed == 1:  # the line's end alone
        assert answers == [WHOLE, WHOLE]
        assert not caplog.messages
    else:
        assert answers == [WHOLE, None]
        assert caplog.messages == [f"{path}: the last line, 2, is no whole answer, and was dropped"]
    keep(path, three=WHOLE)  # on a line of its own
    assert found(path, "one", "three") == [WHOLE, WHOLE]
    assert all(map(json.loads, path.read_text().splitlines()))


@pytest.mark.parametrize("rest", [b'{"key": "abc", "ans', b"{", b'{"key": "two", "answer": 5}\n'])
def test_a_first_line_may_be_cut_too(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "a.answers.jsonl"
    path.write_bytes(rest)
    assert found(path, "two") == [None]
    assert path.read_bytes() == b""


def test_garbage_at_the_end_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.answers.jsonl"
    keep(path, one=WHOLE)
    content = path.read_bytes()
    path.write_bytes(content + bytes(300))
    assert found(path, "one") == [WHOLE]
    assert path.read_bytes() == content


def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.answers.jsonl"
    for content in (b'{"question": "How many?"}\n', b"my notes", b"one\ntwo\n"):
        path.write_bytes(content)
        with pytest.raises(JournalError, match=r"jsonl, line 1: no answer of a teacher"):
            found(path)
        assert path.read_bytes() == content


def test_a_broken_line_amid_others_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.answers.jsonl"
    keep(path, one=WHOLE, two=WHOLE, three=WHOLE)
    first, _, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b'{"key": "two", "ans\n' + third)
    with pytest.raises(JournalError, match=r"line 2: .* remove the line to lose that answer alone"):
        found(path)
    path.write_bytes(first + third)
    assert found(path, "one", "two", "three") == [WHOLE, None, WHOLE]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.answers.jsonl"
    with Journal(path), pytest.raises(JournalError, match="another process is writing it"):
        found(path)
    program = (
        "import sys; from pathlib import Path; from training.annotation.journal import Journal\n"
        "with Journal(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    try:
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(JournalError, match="another process is writing it"):
            found(path)
    finally:
        process.kill()
        process.communicate(timeout=TIMEOUT)
    keep(path, one=WHOLE)  # a killed one lets go of it


def test_an_answer_is_on_the_disk_when_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.answers.jsonl"
    synced, slow = [], threading.Event()
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(path.stat().st_size)
        slow.wait(0.02)  # so that the others come meanwhile
        fsync(descriptor)

    async def append(journal: Journal, key: str) -> tuple[int, int]:
        await journal.append(key, WHOLE)
        return path.read_bytes().index(f'"{key}"'.encode()), max(synced)

    async def append_all(journal: Journal) -> list[tuple[int, int]]:
        return await asyncio.gather(*(append(journal, f"key {n}") for n in range(50)))

    with Journal(path) as journal:
        monkeypatch.setattr(os, "fsync", recorded)
        places = asyncio.run(append_all(journal))
    assert all(place < size for place, size in places)
    assert len(synced) == 2  # the first one's, and one for all that came meanwhile


def test_a_full_disk_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.answers.jsonl"
    keep(path, one=WHOLE)
    with Journal(path) as journal:
        file = journal._file

        class Full:
            def write(self, line: bytes) -> int:
                return file.write(line[:20])

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

        monkeypatch.setattr(journal, "_file", Full())
        with pytest.raises(JournalError, match=r"20 of \d+ bytes could be written"):
            asyncio.run(journal.append("two", WHOLE))
    assert found(path, "one", "two") == [WHOLE, None]
