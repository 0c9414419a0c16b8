"""A stage is a command of Duet in a process of its own."""

import os
import signal
import threading
from pathlib import Path

import pytest

from duet.refresh.errors import RefreshError, WorseError
from duet.refresh.stages import Stage
from tests.support.server_process import TIMEOUT, wait_until

PROGRAM = "import sys, time; print('begun', flush=True); {}"


def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str) -> Stage:
    """A stage that runs a program of Python in place of `duet`."""
    (tmp_path / "duet.py").write_text(f"import os, signal, sys, time\n{program}\n")
    monkeypatch.chdir(tmp_path)  # from where `python -m duet` is found first
    monkeypatch.setenv("PYTHONPATH", "")
    return Stage("try", ["nothing"])


def test_what_is_printed_goes_to_the_log_but_for_warnings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = "print('a'); print('warning: few rows', file=sys.stderr); print('b ü')"
    log = tmp_path / "log"
    log.write_text("before\n")
    stage(monkeypatch, tmp_path, program).run(log)
    assert log.read_text(encoding="utf-8") == "before\na\nwarning: few rows\nb ü\n"
    assert capsys.readouterr() == ("", "refresh: warning: few rows\n")


def test_how_a_stage_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = "print('report.html'); print('evaluate: worse', file=sys.stderr); sys.exit(1)"
    with pytest.raises(WorseError) as worse:
        stage(monkeypatch, tmp_path, program).run(log)
    assert str(worse.value) == ("the new student is refused, nothing is replaced: evaluate: worse")
    program = "print('distill: wrong', file=sys.stderr); sys.exit(2)"
    with pytest.raises(RefreshError) as failed:
        stage(monkeypatch, tmp_path, program).run(log)
    assert str(failed.value) == f"the step failed with status 2, see {log}: distill: wrong"
    with pytest.raises(RefreshError, match=r"status 1, see .*: KeyError: 'a'") as crashed:
        stage(monkeypatch, tmp_path, "{}['a']").run(log)
    assert not isinstance(crashed.value, WorseError)
    with pytest.raises(RefreshError, match="status -9"):
        stage(monkeypatch, tmp_path, "os.kill(os.getpid(), signal.SIGKILL)").run(log)


def test_an_interruption_lets_the_stage_keep_what_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = (
        "def keep(*_):\n    print('x' * 200_000)\n    print('kept')\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, keep)\nprint('begun')\ntime.sleep(60)"
    )
    log = tmp_path / "log"

    def interrupt() -> None:
        wait_until(lambda: log.exists() and "begun" in log.read_text())
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    begun = stage(monkeypatch, tmp_path, program)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        begun.run(log)
    thread.join(TIMEOUT)
    assert log.read_text().endswith("x\nkept\n")
