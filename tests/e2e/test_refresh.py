"""`make refresh`: a student is distilled anew, and takes the other's place while clients ask."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from export.verify import read
from tasks.builtin import TASKS
from tasks.task import Task
from tests.support.bundles import write_bundle
from tests.support.server_process import ROOT, TIMEOUT, Server, serve
from tests.support.simple_problems import write_problems
from tests.support.tiny_students import Student, save_checkpoint
from training.reports.report import read_evaluation

RECIPE = "tests/support/recipes/word-problems.yaml"
KEY = "secret"
ROWS = 100


def refresh(folder: Path, checkpoint: str, *arguments: str) -> tuple[int, str]:
    """The exit status of `make`, and all that was printed."""
    done = subprocess.run(
        [
            *("make", "--no-print-directory"),  # else, below another make, it ends with folders
            *("refresh", f"RECIPE={RECIPE}", f"CHECKPOINT={folder / checkpoint}"),
            f"BUNDLE={folder / 'word-problems'}",
            f"DATA={folder / 'rows.jsonl'}",
            "ARGS=objective=finetune eval_every=150 max_rationale_tokens=16 "
            f"data.train={folder / 'train.jsonl'} data.test=null",
            *arguments,
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
                body = {"inputs": "Ada has 7 coins. Ada gets 5 more coins."}
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


def only_exporting(folder: Path) -> str:
    """A BIN whose python does all from export on, as if the student had been distilled."""
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.write_text(
        '#!/bin/sh\ncase "$*" in *distill.py*|*--calibrate*) ;; '
        f'*) exec {sys.executable} "$@" ;; esac\n'
    )
    python.chmod(0o755)
    return f"BIN={folder / 'bin'}"


def test_a_student_is_replaced_by_one_that_is_not_worse(tmp_path: Path, student: Student) -> None:
    write_problems(tmp_path / "all.jsonl", rows=500 + ROWS, seed=0)
    lines = (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join(lines[:500]), encoding="utf-8")
    (tmp_path / "rows.jsonl").write_text("".join(lines[500:]), encoding="utf-8")
    bundle = tmp_path / "word-problems"
    task = Task(**TASKS["svamp"].model_dump())
    write_bundle(bundle, student, name=bundle.name, task=task)
    with serve(tmp_path / "log", "--models", str(bundle), DUET_ADMIN_KEYS=KEY) as server:
        url = f"URL={server.url}"
        with asked_all_the_while(server) as asking:
            status, printed = refresh(tmp_path, "better", url, "VERSION=2")
            assert status == 0, printed
            assert json.loads(printed.splitlines()[-1])["version"] == "2"
            assert KEY not in printed
        assert asking.result().keys() == {"1", "2"}
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

        (tmp_path / "worse").mkdir()
        save_checkpoint(student, tmp_path / "worse", name=bundle.name)
        with asked_all_the_while(server) as asking:
            status, printed = refresh(tmp_path, "worse", url, "VERSION=3", only_exporting(tmp_path))
            assert status == 2, printed  # make's, of any failure
        assert asking.result().keys() == {"2"}
        assert "Error 1" in printed
        assert "evaluate: significantly worse in label accuracy" in printed
        assert "accuracy 0.0% against " in printed
        assert "export.admit" not in printed
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
