"""Three newcomers go from their file to a served answer and a report, by README's five commands."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.support.newcomers import (
    claim,
    ingredient,
    mail,
    write_csv,
    write_files,
    write_json_lines,
    write_parquet,
)
from tests.support.server_process import environment, serve


def duet(folder: Path, *arguments: str) -> str:
    """What a command that succeeds prints. It runs in the folder, without the hub."""
    done = subprocess.run(
        [sys.executable, "-m", "duet", *arguments],
        cwd=folder,
        env=environment(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", MAKELEVEL=""),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


MAIL = {"message": "Hello,\n\nI cannot log in since Friday."}
CLAIM = {
    "evidence": "On Friday, Mira sold the flat after work.",
    "claim": "Mira bought the flat.",
}


@pytest.mark.parametrize(
    ("make", "write", "suffix", "rows", "flags", "found", "question", "label"),
    [
        pytest.param(
            *(mail, write_csv, ".csv", 400, []),
            ["input      message\n", "label      team: one of 4 (", "row whose label is null"],
            *(MAIL, "website"),
            id="a closed label in CSV",
        ),
        pytest.param(
            *(ingredient, write_json_lines, ".jsonl", 600, ["--label", "order"]),
            ["input      line\n", "label      order: free text, "],
            *({"line": "honey: 250 g, to taste"}, "honey; 250 g"),
            id="an open label in JSON lines",
        ),
        pytest.param(
            *(claim, write_parquet, ".parquet", 600, []),
            ["input      evidence, claim\n", "label      verdict: one of 3 ("],
            *(CLAIM, "refuted"),
            id="two fields in Parquet",
        ),
    ],
)
def test_from_a_file_to_an_answer_and_a_report(
    make: Any,
    write: Any,
    suffix: str,
    rows: int,
    flags: list[str],
    found: list[str],
    question: dict[str, str],
    label: str,
    tmp_path: Path,
) -> None:
    train, kept = write_files(tmp_path, make, write, suffix, rows)
    printed = duet(tmp_path, "init", train.name, "--test", kept.name, *flags)
    for part in found:
        assert part in printed
    distilled = duet(tmp_path, "distill", "rows.yaml").splitlines()
    assert distilled[-3] == "student: runs/rows"
    following = "evaluate runs/rows --recipe rows.yaml --calibrate --out runs/rows/evaluation"
    assert distilled[-1] == f"next: duet {following}"
    evaluated = duet(tmp_path, *following.split()).splitlines()
    assert evaluated[-1] == "next: duet export runs/rows --out bundles/rows"
    folder = tmp_path / "runs" / "rows" / "evaluation"
    report = json.loads((folder / "report.json").read_text())["evaluation"]
    right = report["accuracy"]["right"]
    assert right["value"] >= 0.9
    # what training said of the test rows is what the evaluation says
    assert f"quality: {100 * right['value']:.1f} % of " in distilled[-2]
    duet(tmp_path, "export", "runs/rows", "--out", "bundles/rows")
    with serve(tmp_path / "log", "--models", str(tmp_path / "bundles" / "rows")) as server:
        asked = {"inputs": question, "explain": True}
        answer = httpx.post(f"{server.url}/predict", json=asked).json()
    assert answer["label"] == label
    assert answer["rationale"]
