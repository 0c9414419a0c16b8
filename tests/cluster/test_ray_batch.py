"""Bulk on a cluster: `make test-ray`."""

import os
import secrets
import signal
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="needs Ray: make test-ray")

from tests.cluster.clusters import TIMEOUT, processes
from tests.support.programs import started
from tests.support.simple_problems import write_problems

ROWS, SHARD_ROWS = 1500, 50
ANSWERED = f"{ROWS:,} of {ROWS + 1:,} rows are answered"


def started_job(*arguments: object) -> AbstractContextManager[subprocess.Popen[str]]:
    """A job that may start a cluster of its own."""
    return started("service.bulk", *arguments, RAY_AUTH_TOKEN=secrets.token_hex(32))


def run(*arguments: object) -> tuple[int, str, str]:
    with started_job(*arguments) as process:
        told, complaint = process.communicate(timeout=TIMEOUT)
        return process.returncode, told, complaint


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("part-*.jsonl")}


def wait_for_shards(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while len(shards(folder)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write_problems(path, ROWS, seed=0)
    with path.open("a") as file:
        file.write("no JSON\n")
    return path


@pytest.fixture(scope="module")
def job(rows: Path) -> tuple[object, ...]:
    return ("--input", rows, "--explain", "--shard-rows", SHARD_ROWS, "--threads", 1)


@pytest.fixture(scope="module")
def expected(job: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes."""
    out = tmp_path_factory.mktemp("one")
    status, told, _ = run(*job, "--output", out)
    assert (status, told.splitlines()[0]) == (1, f"{ANSWERED}, in {out}")
    return shards(out)


def test_a_worker_that_is_killed_changes_nothing(
    job: tuple[object, ...], expected: dict[str, bytes], tmp_path: Path
) -> None:
    with started_job(*job, "--ray", "--output", tmp_path) as process:
        wait_for_shards(tmp_path, 3, process)
        victim, *_ = processes(process.pid, "ray::MapWorker")
        os.kill(victim, signal.SIGKILL)
        told, complaint = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1, complaint
    assert f"{ANSWERED}, in {tmp_path}\n" in told
    assert f"(invalid_json: 1), the first in line {ROWS + 1}" in told
    assert shards(tmp_path) == expected


def test_a_job_goes_on_where_it_was_wherever_it_goes_on(
    job: tuple[object, ...], expected: dict[str, bytes], tmp_path: Path
) -> None:
    with started_job(*job, "--ray", "--output", tmp_path) as process:
        wait_for_shards(tmp_path, 3, process)
        process.terminate()
        told, complaint = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, told) == (128 + signal.SIGTERM, "")
        assert "batch: stopped; the same command goes on\n" in complaint
    assert 3 <= len(shards(tmp_path)) < len(expected)
    status, _, complaint = run(*job, "--output", tmp_path)
    assert status == 1
    assert complaint.startswith("batch: goes on after ")
    assert shards(tmp_path) == expected
    assert not list(tmp_path.glob("*.part"))


def test_what_a_worker_cannot_do_is_told_in_a_line(rows: Path, tmp_path: Path) -> None:
    arguments = ("--input", rows, "--device", "cuda", "--threads", 1, "--ray")
    status, told, complaint = run(*arguments, "--output", tmp_path)
    assert (status, told) == (2, "")
    assert complaint.splitlines()[-1].startswith("batch: --ray: ")
    assert "onnxruntime computes on the CPU alone" in complaint.splitlines()[-1]
