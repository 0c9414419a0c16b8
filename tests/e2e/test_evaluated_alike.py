"""A checkpoint, its bundle and a service of it are evaluated, and give the same."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.bundles import write_bundle
from tests.support.checkpoints import edit_record
from tests.support.command_errors import complaint_of
from tests.support.evaluated_students import (
    LIMITS,
    TASKS,
    evaluated,
    write_bundle_of,
    write_checkpoint,
    write_rows,
)
from tests.support.judged_in_training import judged_in_training
from tests.support.server_process import ROOT, TIMEOUT, Server, environment, serve
from tests.support.tiny_students import Student, learned_student
from training.evaluate import main
from training.evaluation.labelled import from_file
from training.evaluation.record import Record
from training.student.files import read_record
from training.student.load import load_pretrained

ROWS = 30
KEY = "a-key"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, student: Student) -> Path:
    """For each kind of labels a checkpoint, a bundle, and rows."""
    folder = tmp_path_factory.mktemp("evaluated")
    (folder / "bundles").mkdir()
    for kind in TASKS:
        one = learned_student(numbers="masked") if kind == "masked" else student
        write_checkpoint(folder / kind, one, kind)
        write_bundle_of(folder / "bundles" / kind, one, kind)
        write_rows(folder / f"{kind}.jsonl", kind, ROWS)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    settings = {"DUET_API_KEYS": KEY, "DUET_MAX_CLIENT_BATCH": "5", "DUET_MAX_QUEUE": "0"}
    with serve(folder / "log", "--models", str(folder / "bundles"), **settings) as server:
        yield server


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUET_API_KEY", KEY)


def without_probabilities(record: Record) -> Record:
    return replace(record, confidence=0.0, probabilities=None)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("kind", TASKS)
def test_all_three_say_the_same(kind: str, folder: Path, server: Server, tmp_path: Path) -> None:
    data = ["--data", folder / f"{kind}.jsonl"]
    expected = evaluated(tmp_path / "checkpoint", folder / kind, *data)
    bundle = evaluated(tmp_path / "bundle", folder / "bundles" / kind, *data)
    service = evaluated(tmp_path / "url", f"{server.url}/", "--served-name", kind, *data)
    assert len(expected) == ROWS
    assert len({record.confidence for record in expected}) > ROWS / 2
    assert len({record.rationale for record in expected}) > ROWS / 2
    assert any(record.truncated for record in expected)
    assert all(record.truncated for record in expected) == (kind == "choices")
    for actual in (bundle, service):
        for ours, theirs in zip(actual, expected, strict=True):
            assert without_probabilities(ours) == without_probabilities(theirs)
            assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-4)
            assert (ours.probabilities is None) == (TASKS[kind].labels == "open")
            if ours.probabilities is not None:
                assert theirs.probabilities is not None
                assert [*ours.probabilities] == [*theirs.probabilities]
                assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-4)


def test_students_that_do_not_explain_are_evaluated_alike(
    folder: Path, student: Student, tmp_path: Path
) -> None:
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    write_checkpoint(checkpoint, student, "closed")
    edit_record(checkpoint, explains=False)
    facts = {"name": "closed", "task": TASKS["closed"], "limits": LIMITS}
    write_bundle(bundle, student, **facts, explains=False)
    data = ["--data", folder / "closed.jsonl"]
    expected = evaluated(tmp_path / "of-checkpoint", checkpoint, *data)
    actual = evaluated(tmp_path / "of-bundle", bundle, *data)
    assert {record.rationale for record in expected} == {None}
    assert [*map(without_probabilities, actual)] == [*map(without_probabilities, expected)]
    assert "## Rationales" not in (tmp_path / "of-bundle" / "report.md").read_text()


@pytest.mark.parametrize("kind", TASKS)
def test_training_says_what_is_served(kind: str, folder: Path, tmp_path: Path) -> None:
    student = load_pretrained(folder / kind)
    facts = read_record(folder / kind)
    rows = [*from_file(folder / f"{kind}.jsonl", facts.task).read()]
    measured, right = judged_in_training(student, facts, rows, tmp_path)
    answers = evaluated(tmp_path / "checkpoint", folder / kind, "--data", folder / f"{kind}.jsonl")
    assert right == [record.right for record in answers]
    assert measured["eval_accuracy"] == sum(right) / ROWS
    assert (sum(right) > 0) == (TASKS[kind].labels != "open")  # a guess may be right

    said = [replace(row, gold=one.label) for row, one in zip(rows, answers, strict=True)]
    measured, right = judged_in_training(student, facts, said, tmp_path)
    assert right == [True] * ROWS
    assert measured["eval_exact"] == 1


def test_a_killed_evaluation_of_a_bundle_leaves_no_service(folder: Path, tmp_path: Path) -> None:
    arguments = [str(folder / "bundles" / "open"), "--data", str(folder / "open.jsonl")]
    whole = evaluated(tmp_path / "whole", *arguments)
    out = tmp_path / "out"
    killed = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.interrupted_evaluation",
            "19",
            *arguments,
            "--out",
            str(out),
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    found = re.search(r"Docs: (\S+)/docs\n", (out / "service.log").read_text())
    assert found
    address = urlsplit(found[1])
    deadline = time.monotonic() + TIMEOUT
    while _accepts(address.hostname, address.port):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    again = evaluated(out, *arguments)
    assert [*map(without_probabilities, again)] == [*map(without_probabilities, whole)]


def _accepts(host: str | None, port: int | None) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--served-name", "none"], "/models/none: model 'none': unknown; this service has"),
        (["--served-name", "closed"], "the label '( 0 + 1 )' is not one of yes, no"),
        (["--served-name", "choices"], 'line 1: no "options"; there is text, label'),
    ],
)
def test_a_service_that_does_not_fit(
    arguments: list[str],
    complaint: str,
    folder: Path,
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [server.url, "--data", f"{folder}/open.jsonl", "--out", str(tmp_path), *arguments]
    assert complaint in complaint_of(command, capsys, main, "evaluate")


@pytest.mark.parametrize(
    ("key", "complaint"),
    [(None, "a key is needed: "), ("wrong", "this service does not know the key, ")],
)
def test_a_key_that_is_missing_or_wrong(
    key: str | None,
    complaint: str,
    folder: Path,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("DUET_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("DUET_API_KEY", key)
    command = [server.url, "--data", f"{folder}/open.jsonl", "--out", str(tmp_path)]
    line = complaint_of(command, capsys, main, "evaluate")
    assert complaint in line
    assert "DUET_API_KEY" in line


@pytest.mark.usefixtures("key")
def test_a_row_that_the_service_refuses_is_named(
    folder: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rows(tmp_path / "rows.jsonl", "choices", 12)
    line = data.read_text().splitlines()[10]
    long = line.replace('"options": ["', '"options": ["' + "a long choice, " * 9)
    assert long != line
    data.write_text(data.read_text().replace(line, long))
    for model in ([server.url, "--served-name", "choices"], [str(folder / "choices")]):
        command = [*model, "--data", str(data), "--out", str(tmp_path / "out"), "--force"]
        said = complaint_of(command, capsys, main, "evaluate")
        assert f"{data}, line 11: " in said
        assert "tokens, but a label" in said
