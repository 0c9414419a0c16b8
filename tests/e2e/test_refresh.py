"""`make refresh`: a student is distilled anew, and takes the other's place while clients ask."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import export.admit
from duet.refresh import __main__ as refresh_command
from export import convert
from export.verify import read, read_manifest
from tasks.builtin import TASKS
from tasks.task import Task
from tests.support.bundles import copy_bundle, write_bundle
from tests.support.checkpoints import checkpoint, contents, learned, names
from tests.support.corrupt_bundles import flip_a_bit
from tests.support.refreshes import KEY, asked_all_the_while, prepare, served_version
from tests.support.seeded_rows import write_rows
from tests.support.server_process import ROOT, Server, serve
from tests.support.simple_problems import RECIPE, write_problems
from tests.support.tiny_students import (
    Student,
    answers,
    learned_student,
    problems,
    save_checkpoint,
)
from training.reports.report import read_evaluation

__all__ = ["checkpoint", "learned"]  # fixtures

ROWS = 100


def refresh(folder: Path, checkpoint: str, *arguments: str) -> tuple[int, str]:
    """The exit status of `make`, and all that was printed."""
    done = subprocess.run(
        [
            *("make", "--no-print-directory"),  # else, below another make, it ends with folders
            *("--old-file", ".venv/.dev", f"BIN={Path(sys.executable).parent}"),
            *("refresh", f"RECIPE={RECIPE}", f"CHECKPOINT={folder / checkpoint}"),
            f"BUNDLE={folder / 'served'}",
            f"DATA={folder / 'rows.jsonl'}",
            "ARGS=objective=finetune eval_every=150 max_rationale_tokens=16 "
            f"data.train={folder / 'train.jsonl'} data.test=null",
            *arguments,
        ],
        cwd=ROOT,
        env=os.environ | {"DUET_ADMIN_KEY": KEY, "OMP_NUM_THREADS": "1", "NAME": "a-host"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert KEY not in done.stdout
    return done.returncode, done.stdout


def test_a_student_is_replaced_by_one_that_is_not_worse(tmp_path: Path, student: Student) -> None:
    """The folder of the bundle has another name than the model."""
    write_problems(tmp_path / "all.jsonl", rows=500 + ROWS, seed=0)
    lines = (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join(lines[:500]), encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text("".join(lines[500:]), encoding="utf-8")
    bundle = tmp_path / "served"
    task = Task(**TASKS["svamp"].model_dump())
    old = write_bundle(bundle, student, name="word-problems", task=task, explains=False)
    with serve(tmp_path / "log", "--models", str(bundle), DUET_ADMIN_KEYS=KEY) as server:
        url = f"URL={server.url}"
        with asked_all_the_while(server, explain=False) as asking:
            status, printed = refresh(tmp_path, "better", url, "VERSION=2")
            assert status == 0, printed
        assert asking.result().keys() == {"1", "2"}
        _, *said = printed[printed.index("refresh: ") :].splitlines()
        warning = said.pop(2)
        assert warning.startswith("refresh: warning: objective: finetune learns labels only: ")
        log = tmp_path / "better" / "refresh.log"
        assert said[0] == f"refresh: 7 steps; what they print is in {log}"
        assert [line.split(".")[0] for line in said[1:4]] == [
            "refresh: 1",
            "refresh: 2",
            "refresh: 3",
        ]
        assert "wrote " in log.read_text()
        assert any(
            line.startswith("refresh: not significantly worse, and better in label accuracy (")
            for line in said
        )
        assert said[-1] == (
            f"refresh: version 2 of word-problems answers now at {server.url}; version 1 is kept "
            f"in {tmp_path / '.served.before'}"
        )
        assert len(said) == 11
        assert read_manifest(tmp_path / ".served.before") == old
        manifest = read(bundle).manifest
        gate = manifest.provenance.gate
        assert gate["rows"] == ROWS
        assert gate["against"] == "word-problems, version 1"
        assert gate["accuracy_difference"] > 0
        found = read_evaluation(tmp_path / "better" / "evaluation").evaluation
        assert gate["accuracy"] == found.accuracy.right.value
        assert gate["accuracy"] > 0.8
        calibration = manifest.calibration
        assert calibration.fitted_on.startswith("100 rows of word-problems (validation), SHA-256 ")
        assert calibration.temperature != 1
        assert found.temperature is not None
        assert calibration.temperature == found.temperature.temperature
        assert found.calibrated is not None
        assert gate["brier"] == pytest.approx(found.calibrated.brier, abs=1e-5)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, learned: Path) -> Path:
    """The bundles `random`, `perfect` and, of other weights, `again`; and rows to compare on."""
    folder = tmp_path_factory.mktemp("bundles")
    again = save_checkpoint(learned_student(steps=100), tmp_path_factory.mktemp("again"))
    sources = {"random": checkpoint, "perfect": learned, "again": again}
    for name, source in sources.items():
        arguments = [str(source), "--out", str(folder / name), "--version", name]
        assert convert.main(arguments) == 0
    pairs = zip(problems(20), answers(20), strict=True)
    write_rows(
        folder / "rows.jsonl",
        [{"input": text, "label": label, "rationale": why} for text, (label, why) in pairs],
    )
    return folder


def command(bundles: Path, out: Path, server: Server) -> list[str]:
    """The command's arguments: it refreshes `out`, and its checkpoint lies beside that."""
    recipe = [str(RECIPE), "name=tiny", f"data.train={bundles / 'rows.jsonl'}", "data.test=null"]
    more = ["--data", str(bundles / "rows.jsonl"), "--url", server.url]
    return [*recipe, "--checkpoint", str(out.parent / "new"), "--bundle", str(out), *more]


def test_a_perfect_student_takes_the_place_of_another_one(
    bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = copy_bundle(bundles / "perfect", tmp_path / "tiny")
    before = contents(out)
    prepare(monkeypatch, bundles / "again")
    with serve(tmp_path / "log", "--models", str(out), DUET_ADMIN_KEYS=KEY) as server:
        arguments = command(bundles, out, server)
        with asked_all_the_while(server) as asking:
            assert refresh_command.main(arguments) == 0
        assert asking.result().keys() == {"perfect", "again"}
        assert contents(tmp_path / ".tiny.before") == before
        printed = capsys.readouterr().out
        assert "refresh: not significantly worse: accuracy 100.0% against 100.0%" in printed

        new = contents(out)
        assert refresh_command.main(arguments) == 0  # the same once more
        assert capsys.readouterr().out.splitlines()[-1] == (
            f"refresh: the student in {tmp_path / 'new'} is the one in {out}: nothing to replace; "
            f"version again of tiny answers at {server.url}"
        )
        assert contents(out) == new
        assert contents(tmp_path / ".tiny.before") == before
        assert served_version(server) == "again"


def test_a_worse_student_is_refused(
    bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = copy_bundle(bundles / "perfect", tmp_path / "tiny")
    before = contents(out)
    prepare(monkeypatch, bundles / "random")
    with serve(tmp_path / "log", "--models", str(out), DUET_ADMIN_KEYS=KEY) as server:
        with asked_all_the_while(server) as asking:
            assert refresh_command.main(command(bundles, out, server)) == 1
        assert asking.result().keys() == {"perfect"}
        assert "/load" not in server.log.read_text()
    assert "evaluate: significantly worse in label accuracy" in capsys.readouterr().err
    assert contents(out) == before
    assert names(tmp_path) == [".tiny.lock", "log", "new", "tiny"]


def test_a_broken_student_is_taken_back(
    bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It passes the gate, and is damaged before the service reads it."""
    out = copy_bundle(bundles / "random", tmp_path / "tiny")
    before = contents(out)
    prepare(monkeypatch, bundles / "perfect")

    def admit_damaged(new: Path, verdict: Path, out: Path) -> None:
        admit(new, verdict, out)
        flip_a_bit("decoder.onnx")(out)

    admit = export.admit.admit
    monkeypatch.setattr(export.admit, "admit", admit_damaged)
    with serve(tmp_path / "log", "--models", str(out), DUET_ADMIN_KEYS=KEY) as server:
        with asked_all_the_while(server) as asking:
            assert refresh_command.main(command(bundles, out, server)) == 2
        assert asking.result().keys() == {"random"}
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"refresh: {server.url}: {out}/decoder.onnx: its SHA-256 is not the ")
    assert error.endswith(
        f"version random is still loaded; {out} is version random again, which the service still "
        "serves"
    )
    assert contents(out) == before
    assert names(tmp_path) == [".tiny.lock", "log", "new", "tiny"]


KILLED = """
import os
import signal
import sys
from pathlib import Path

import pytest

from duet.refresh.__main__ import main
from duet.refresh.running_service import RunningService
from tests.support.corrupt_bundles import flip_a_bit
from tests.support.refreshes import prepare

prepare(pytest.MonkeyPatch(), Path(sys.argv[1]))
RunningService.load = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[2:])
"""


def test_the_same_command_goes_on_after_a_kill_before_the_load(
    bundles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = copy_bundle(bundles / "random", tmp_path / "tiny")
    with serve(tmp_path / "log", "--models", str(out), DUET_ADMIN_KEYS=KEY) as server:
        arguments = command(bundles, out, server)
        with asked_all_the_while(server) as asking:
            killed = subprocess.run(
                [sys.executable, "-c", KILLED, str(bundles / "perfect"), *arguments],
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            assert killed.returncode == -signal.SIGKILL, killed.stderr
            assert read_manifest(out).version == "perfect"
            assert served_version(server) == "random"

            prepare(monkeypatch, bundles / "perfect")
            assert refresh_command.main(arguments) == 0
        assert asking.result().keys() == {"random", "perfect"}
        assert capsys.readouterr().out.startswith(
            "refresh: an earlier refresh was killed before the service loaded version perfect; "
            f"version random, which it serves, is in {out} again\n"
        )
        assert served_version(server) == "perfect"
    assert read_manifest(out).version == "perfect"
    assert read_manifest(tmp_path / ".tiny.before").version == "random"


def test_rows_to_compare_on_are_asked_for_first(tmp_path: Path, tiny_bundle: Path) -> None:
    copy_bundle(tiny_bundle, tmp_path / "served")
    with serve(
        tmp_path / "log", "--models", str(tmp_path / "served"), DUET_ADMIN_KEYS=KEY
    ) as server:
        status, printed = refresh(tmp_path, "checkpoint", "DATA=", f"URL={server.url}")
    assert status == 2
    assert printed.startswith("refresh: give DATA=…\n")
    assert names(tmp_path) == ["log", "served"]  # no checkpoint
