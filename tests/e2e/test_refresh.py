"""`make refresh`: a student is distilled anew, and takes the other's place while clients ask."""

import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from export.bundle import read
from tests.servers import ROOT, TIMEOUT, Server, serve
from tests.word_problems import write_problems
from training.report import read_evaluation

RECIPE = "tests/recipes/word-problems.yaml"
KEY = "secret"
ROWS = 100


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two batches of training rows, and rows that no student learns."""
    folder = tmp_path_factory.mktemp("data")
    write_problems(folder / "all.jsonl", rows=500 + ROWS, seed=0)
    lines = (folder / "all.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "old.jsonl").write_text("".join(lines[:250]), encoding="utf-8")
    (folder / "new.jsonl").write_text("".join(lines[:500]), encoding="utf-8")
    (folder / "rows.jsonl").write_text("".join(lines[500:]), encoding="utf-8")
    return folder


def make(folder: Path, data: Path, train: str, steps: int, *arguments: str) -> tuple[int, str]:
    """The exit status, and all that was printed."""
    done = subprocess.run(
        [
            *("make", "--no-print-directory"),  # else, below another make, it ends with folders
            *arguments,
            f"RECIPE={RECIPE}",
            f"CHECKPOINT={folder / f'checkpoint-{train}-{steps}'}",
            f"BUNDLE={folder / 'word-problems'}",
            f"DATA={data / 'rows.jsonl'}",
            f"ARGS=objective=finetune steps={steps} eval_every={steps} max_rationale_tokens=16 "
            f"data.train={data / f'{train}.jsonl'} data.test=null",
        ],
        cwd=ROOT,
        env=os.environ | {"DUET_ADMIN_KEY": KEY, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


@contextmanager
def asked_all_the_while(server: Server) -> Iterator[Future[Counter[str]]]:
    """A client that asks again and again, and once after all else: the versions that answered."""
    over = threading.Event()

    def ask() -> Counter[str]:
        seen: Counter[str] = Counter()
        with httpx.Client(base_url=server.url, timeout=TIMEOUT) as client:
            last = False
            while not last:
                last = over.wait(0.05)  # which leaves the processor to the others
                body = {"inputs": "Ada has 7 coins. Ada gets 5 more coins.", "explain": True}
                response = client.post("/predict", json=body)
                assert response.status_code == 200, response.text
                seen[response.json()["version"]] += 1
        return seen

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield asking
        finally:
            over.set()


def served_version(server: Server) -> str:
    return httpx.get(f"{server.url}/models/word-problems", timeout=TIMEOUT).json()["version"]


def test_a_student_is_replaced_by_one_that_is_not_worse(data: Path, tmp_path: Path) -> None:
    status, printed = make(tmp_path, data, "old", 60, "distill-mini", "export-mini")
    assert status == 0, printed
    bundle = tmp_path / "word-problems"
    with serve(tmp_path / "log", "--models", str(bundle), DUET_ADMIN_KEYS=KEY) as server:
        refresh = ("refresh", f"URL={server.url}")
        with asked_all_the_while(server) as asking:
            status, printed = make(tmp_path, data, "new", 150, *refresh, "VERSION=2")
            assert status == 0, printed
            assert json.loads(printed.splitlines()[-1])["version"] == "2"
            assert KEY not in printed
        assert asking.result().keys() == {"1", "2"}
        manifest = read(bundle).manifest
        gate = manifest.provenance.gate
        assert gate["rows"] == ROWS
        assert gate["against"] == "word-problems, version 1"
        assert gate["accuracy_difference"] > 0
        evaluated = tmp_path / "checkpoint-new-150" / "evaluation"
        accuracy = read_evaluation(evaluated).evaluation.accuracy.right.value
        assert gate["accuracy"] == accuracy
        assert accuracy > 0.8
        calibration = manifest.calibration
        assert calibration.fitted_on.startswith("100 rows of word-problems (validation), SHA-256 ")
        assert calibration.temperature != 1

        with asked_all_the_while(server) as asking:
            status, printed = make(tmp_path, data, "new", 5, *refresh, "VERSION=3")
            assert status == 2, printed  # make's, of any failure
        assert asking.result().keys() == {"2"}
        assert "Error 1" in printed
        assert "convert: no bundle written: significantly worse in label accuracy" in printed
        assert "accuracy 0.0% against " in printed
        assert "curl" not in printed
        assert read(bundle).manifest == manifest
        assert served_version(server) == "2"


def test_rows_to_compare_on_are_asked_for_first(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "refresh", f"CHECKPOINT={tmp_path / 'checkpoint'}", "DATA="],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "refresh: DATA=… must be a file of labelled rows" in done.stderr
    assert not any(tmp_path.iterdir())
