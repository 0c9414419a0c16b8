import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.durable_files import open_locked, replace_text, replacing

HOLD = "import sys; {hold}; print('held', flush=True); sys.stdin.read()"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_has_one_holder_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"kept ")
    with open_locked(path) as file:
        file.write(b"and added to")
        with pytest.raises(BlockingIOError):
            open_locked(path)
    with open_locked(path) as file:
        file.seek(0)
        assert file.read() == b"kept and added to"


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    hold = f"from pathlib import Path; from tasks.durable_files import open_locked; \
file = open_locked(Path({str(path)!r}))"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD.format(hold=hold)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            open_locked(path)
        process.kill()
    open_locked(path).close()


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    replace_text(path, "« old »\n")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text(encoding="utf-8") == "« old »\n"
    assert contents(tmp_path) == {"a.txt": b"new"}


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, raised: type[BaseException]
) -> None:
    path = tmp_path / "a.txt"
    replace_text(path, "old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise raised

    with pytest.raises(raised):
        fail()
    assert contents(tmp_path) == {"a.txt": b"old"}


def test_two_writers_each_write_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert contents(tmp_path) == {"a.txt": b"first"}  # which ends last


def test_content_and_name_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "a.txt", []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").resolve().suffix, path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    replace_text(path, "text")
    assert synced == [(".part", False), ("", True)]  # the content before its name, then the folder
