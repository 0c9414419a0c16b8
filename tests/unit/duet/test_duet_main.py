"""The console script, in real processes where it matters."""

import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from duet import __main__ as duet
from service.server import STOP_SIGNALS
from tests.support.no_torch import no_torch
from tests.support.programs import run
from tests.support.server_process import ROOT, Server, environment

__all__ = ["no_torch"]  # a fixture


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "duet", *arguments]


@pytest.fixture
def signals_as_they_were() -> Iterator[None]:
    """The service listens to signals from its start on, which is here this process."""
    before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_package_installs_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["scripts"]["duet"].partition(":")
    assert getattr(import_module(module), name) is duet.main
    extras = {extra for command in duet.COMMANDS.values() for extra in command.extras.split(",")}
    assert extras <= project["optional-dependencies"].keys()


def test_help_lists_the_commands() -> None:
    done = run("duet", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for name, command in duet.COMMANDS.items():
        assert f"  {name:<10}{command.help}" in lines
    without = run("duet")
    assert (without.returncode, without.stdout, without.stderr) == (2, "", done.stdout)


def test_a_command_that_is_none_is_told_in_one_line() -> None:
    done = run("duet", "server")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "duet: there is no command 'server'; `duet --help` lists them\n"


@pytest.mark.parametrize("name", duet.COMMANDS)
def test_a_commands_help_names_it_so(
    name: str, capsys: pytest.CaptureFixture[str], signals_as_they_were: None
) -> None:
    with pytest.raises(SystemExit) as ended:
        duet.main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: duet {name} ")


def test_settings_are_checked_without_torch(no_torch: str) -> None:
    done = run("duet", "check", PYTHONPATH=no_torch)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Duet would serve on 127.0.0.1, port 8000:\n  svamp-numbers, ")
    wrong = run("duet", "check", "--models", "nowhere", PYTHONPATH=no_torch)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("duet: nowhere")


def test_a_package_that_is_missing_is_told_in_one_line(no_torch: str) -> None:
    done = run("duet", "distill", "recipe.yaml", PYTHONPATH=no_torch)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "duet distill: torch is missing: pip install '.[training]'\n"


def test_a_module_of_ours_that_is_missing_is_no_missing_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(duet.COMMANDS, "new", duet.Command("training.new", "training", ""))
    with pytest.raises(ModuleNotFoundError, match=r"training\.new"):
        duet.main(["new"])


def test_the_service_runs_in_the_same_process_until_a_signal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            program("serve", "--port", "0"),
            cwd=ROOT,
            env=environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    server = Server(process, log)
    try:
        server.wait_until_it_listens()
        assert server.stop(signal.SIGTERM) == 0
    finally:
        process.kill()
        process.wait()


def test_exit_codes_pass_through(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "Ada has 3 eggs and gets 4. How many?"}\n{"text": ""}\n')
    done = run("duet", "batch", "--input", str(rows), "--output", str(tmp_path / "out"))
    assert done.returncode == 1  # one row could not be answered
    assert done.stdout.startswith("1 of 2 rows are answered")
    assert run("duet", "batch", "--input", "none.jsonl", "--output", "out").returncode == 2


def test_a_student_is_recorded_with_the_command_that_made_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands: list[str] = []

    def interrupted(config: None, splits: None, command: str, *more: object) -> None:
        commands.append(command)
        raise KeyboardInterrupt

    for name in ("load_config", "is_distilled", "load_base", "load_splits"):
        monkeypatch.setattr(f"training.distill.{name}", lambda *_: None)
    monkeypatch.setattr("training.distill.distill", interrupted)
    assert duet.main(["distill", "my recipe.yaml", "steps=3"]) == 130
    assert commands == ["duet distill 'my recipe.yaml' steps=3"]


def test_ctrl_c_while_a_command_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(module: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupted)
    assert duet.main(["distill", "recipe.yaml"]) == 130
    assert capsys.readouterr().err == "duet distill: stopped\n"
