"""The bulk command, killed and stopped, beside one that was not, and the engine alone."""

import asyncio
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from service.engine.engine import Engine
from service.engine.prediction import PredictRequest
from tests.support.programs import run, started
from tests.support.server_process import TIMEOUT
from tests.support.simple_problems import write_problems

ROWS, SHARD_ROWS = 400, 20


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def shards(folder: Path) -> int:
    return len(list(folder.glob("part-*.jsonl")))


def wait_for_another_shard(folder: Path, process: subprocess.Popen[str]) -> None:
    before, deadline = shards(folder), time.monotonic() + TIMEOUT
    while shards(folder) == before:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    write_problems(path, ROWS, seed=0)
    return path


def test_a_killed_job_ends_as_one_that_was_not(
    rows: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    out, job = tmp_path / "out", ("--input", rows, "--model", tiny_bundle, "--explain")
    job = (*job, "--shard-rows", SHARD_ROWS, "--threads", 1, "--keep", "label", "--truncate")
    for kill in range(3):
        # neither rows at once nor drafts change an answer, so a job may go on with others
        others = ("--max-rows", 2 + kill, "--speculate", kill % 2 == 0)
        with started("service.bulk", *job, *others, "--output", out) as process:
            wait_for_another_shard(out, process)
            process.kill()
            assert process.wait() == -signal.SIGKILL
    assert 3 <= shards(out) < ROWS / SHARD_ROWS
    with started("service.bulk", *job, "--max-rows", 2, "--output", out) as process:
        wait_for_another_shard(out, process)
        process.terminate()
        told, complaint = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 128 + signal.SIGTERM
        assert told == ""
        first, last = complaint.splitlines()
        assert first.startswith("batch: goes on after ")
        assert last == "batch: stopped; the same command goes on"
        assert not list(out.glob("*.part"))
    resumed = run("service.bulk", *job, "--output", out)
    whole = run("service.bulk", *job, "--output", tmp_path / "whole")
    for done in (resumed, whole):
        assert done.returncode == 0
        assert done.stdout.startswith(f"{ROWS} of {ROWS} rows are answered, in {tmp_path}")
    assert contents(out) == contents(tmp_path / "whole")
    hold_against_the_engine(out, rows, tiny_bundle)


def hold_against_the_engine(out: Path, rows: Path, bundle: Path) -> None:
    """Every answer is the one that its row gets alone."""
    given = [json.loads(line) for line in rows.read_text().splitlines()]
    records = [
        json.loads(line)
        for path in sorted(out.glob("part-*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert [record["line"] for record in records] == list(range(1, ROWS + 1))
    engine = Engine.load(bundle, threads=1, max_rows=2, speculate=False)

    async def check() -> None:
        for row, record in zip(given, records, strict=True):
            alone = await engine.predict(PredictRequest(row["input"], True, truncate=True))
            assert record["row"] == {"label": row["label"]}
            assert record["rationale"] == alone.rationale
            assert [record["label"], record["confidence"]] == [alone.label, alone.confidence]

    asyncio.run(check())
    engine.close()
