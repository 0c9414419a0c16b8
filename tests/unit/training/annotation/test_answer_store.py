import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_teacher import environment
from tests.support.server_process import TIMEOUT
from training.annotation.answer_store import AnswerStore, Spent, StoreError
from training.annotation.completion import Completion

WHOLE = Completion("So “so”.\nAnswer: 7", "stop", "teacher-1", None, 30, 4, tokens_guessed=False)
REFUSED = Completion(None, refused="too long")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.answers.sqlite"


def keep(path: Path, **completions: Completion) -> None:
    with AnswerStore(path) as store:
        for key, completion in completions.items():
            store.keep(key, completion)


def found(path: Path, *keys: str) -> list[Completion | None]:
    with AnswerStore(path) as store:
        return [store.get(key) for key in keys]


def test_answers_are_kept_by_key_and_what_they_took_is_counted(path: Path) -> None:
    keep(path, one=WHOLE, two=REFUSED)
    keep(path, three=Completion("Why?", input_tokens=5, output_tokens=1, tokens_guessed=True))
    with AnswerStore(path) as store:
        assert [store.get(key) for key in ("one", "two", "four")] == [WHOLE, REFUSED, None]
        assert store.spent == Spent(3, 35, 5, tokens_guessed=True)
        assert store.get("three") == Completion("Why?", None, None, None, 5, 1, True)
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # no log is left over


def test_what_is_forgotten_can_be_asked_again_and_was_paid_for(path: Path) -> None:
    keep(path, one=WHOLE, two=WHOLE)
    with AnswerStore(path) as store:
        store.forget(["one"])
        assert (store.get("one"), store.get("two")) == (None, WHOLE)
    assert found(path, "one", "two") == [None, WHOLE]
    keep(path, one=REFUSED)
    with AnswerStore(path) as store:
        assert store.get("one") == REFUSED
        assert store.spent == Spent(3, 60, 8)
        store.forget(["one"])
        assert store.get("one") is None


def test_each_answer_is_on_the_disk_when_keep_returns(path: Path) -> None:
    """What makes it so is SQLite's to test; here, that it is asked to wait for the disk."""
    with AnswerStore(path) as store:
        run = store._connection.execute
        assert run("PRAGMA journal_mode").fetchall() == [("wal",)]
        assert run("PRAGMA synchronous").fetchall() == [(2,)]  # FULL: each commit syncs the log
        store.keep("one", WHOLE)
        assert not store._connection.in_transaction


CHILD = """
import os, signal, sys
from pathlib import Path
from training.annotation.answer_store import AnswerStore
from training.annotation.completion import Completion
with AnswerStore(Path(sys.argv[1])) as store:
    for number in range(int(sys.argv[2])):
        store.keep(str(number), Completion(f"So {number}."))
    print("kept", flush=True)
    sys.stdin.read()
"""


def child(path: Path, answers: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(answers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"kept\n"
    return process


def killed(process: subprocess.Popen[bytes]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=TIMEOUT)


def test_a_killed_process_loses_nothing_and_lets_go_of_the_file(path: Path) -> None:
    process = child(path, 20)
    try:
        with pytest.raises(StoreError, match=r"a\.answers\.sqlite: another process is writing it"):
            found(path)
    finally:
        killed(process)
    assert found(path, "0", "19", "20") == [Completion("So 0."), Completion("So 19."), None]


def test_one_process_at_a_time(path: Path) -> None:
    with AnswerStore(path), pytest.raises(StoreError, match="another process is writing it"):
        found(path)
    keep(path, one=WHOLE)
    with AnswerStore(path), pytest.raises(StoreError, match="another process is writing it"):
        found(path)
    assert found(path, "one") == [WHOLE]


@pytest.mark.parametrize("removed", [1, 30, 3000])
def test_an_answer_that_was_cut_is_lost_alone(path: Path, removed: int) -> None:
    killed(child(path, 20))
    log = path.with_name(f"{path.name}-wal")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - removed)
    assert found(path, "0", "18", "19") == [Completion("So 0."), Completion("So 18."), None]
    keep(path, **{"19": WHOLE})
    assert found(path, "19") == [WHOLE]


def test_an_empty_file_is_a_new_store(path: Path) -> None:
    path.touch()  # as a process leaves it that is killed at once
    keep(path, one=WHOLE)
    assert found(path, "one") == [WHOLE]


def test_a_file_that_is_no_store_is_left_alone(path: Path) -> None:
    path.write_bytes(b"my notes, which are no database at all\n" * 100)
    content = path.read_bytes()
    with pytest.raises(StoreError, match=r"sqlite: not a store of answers; move it away or choose"):
        found(path)
    assert path.read_bytes() == content
    path.unlink()
    for pragma in ("application_id = 7", "user_version = 1"):
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE IF NOT EXISTS judgements (key TEXT)")
            other.execute(f"PRAGMA {pragma}")
        other.close()
        content = path.read_bytes()
        with pytest.raises(StoreError, match="not a store of answers of this version; move it"):
            found(path)
        assert path.read_bytes() == content


def test_a_damaged_store_is_refused_in_one_line_that_says_what_to_do(path: Path) -> None:
    keep(path, **{str(number): Completion("So. " * 500) for number in range(50)})
    content = bytearray(path.read_bytes())
    page = 4096
    for start in range(2 * page, len(content), 3 * page):
        content[start : start + 200] = b"\xff" * 200
    path.write_bytes(content)
    with pytest.raises(
        StoreError, match=r"damaged \(.*\); restore a copy, .* or move it away"
    ) as caught:
        found(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_full_disk_loses_no_answer(path: Path) -> None:
    keep(path, one=WHOLE)
    with AnswerStore(path) as store:
        store._connection.execute("PRAGMA max_page_count = 5")
        with pytest.raises(StoreError, match="the disk is full; all answers before are kept"):
            store.keep("two", Completion("So. " * 50_000))
        assert store.spent.requests == 1
        store.keep("three", WHOLE)
    assert found(path, "one", "two", "three") == [WHOLE, None, WHOLE]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none/a\.sqlite: unable to open database file"):
        found(tmp_path / "none" / "a.sqlite")


def test_a_new_store_begins_with_earlier_answers_and_an_old_one_does_not(path: Path) -> None:
    with AnswerStore(
        path, [("one", REFUSED), ("two", WHOLE), ("two", None), ("one", WHOLE)]
    ) as new:
        assert (new.get("one"), new.get("two")) == (WHOLE, None)
        assert new.spent == Spent(3, 60, 8)
    with AnswerStore(path, [("three", WHOLE)]) as old:
        assert (old.get("one"), old.get("three")) == (WHOLE, None)


def test_earlier_answers_come_all_or_not_at_all(path: Path) -> None:
    def broken() -> object:
        yield "one", WHOLE
        raise StoreError("line 2")

    with pytest.raises(StoreError, match="line 2"), AnswerStore(path, broken()):
        pass
    with AnswerStore(path, [("two", WHOLE)]) as store:
        assert (store.get("one"), store.get("two")) == (None, WHOLE)
