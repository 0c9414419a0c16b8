import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from tests.benchmarks.work import Wants
from tests.support.server_process import ROOT, environment


def test_the_benchmarks_run_without_the_optional_peers(tmp_path: Path) -> None:
    out, page = tmp_path / "results.md", tmp_path / "page.md"
    page.write_text("<!-- bench -->\n<!-- /bench -->\n")
    command = ["--quick", "--peers", "--only", "generation", "serving", "costs"]
    subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *command, "--out", out, "--readme", page],
        cwd=ROOT,
        env=environment(),
        check=True,
    )
    results = out.read_text()
    for wants in get_args(Wants):
        texts = 2 if wants == "both" else 1
        (row,) = re.findall(rf"\| T5-tiny, {wants}, batch 1 \| .*;.*", results)
        assert f"| predict; {texts}/{texts} |" in row  # as transformers writes them
    assert re.search(r"\| Duet int8 \| 32 \| [\d.]+ \|", results)  # answers under load
    assert re.search(r"\| int8 \| [\d.]+ \| 0 \|", results)  # a step
    assert "| HTTP beyond the engine, median |" in results
    shown = page.read_text()
    assert "| T5-tiny, label, batch 1 |" in shown
    assert "HTTP beyond the engine" not in shown  # aims stand in the results alone


def test_training_is_measured_with_equal_losses(tmp_path: Path) -> None:
    out = tmp_path / "results.md"
    command = ["--only", "svamp-mini", "--objectives", "mi-unsafe", "--rounds", "1", "--steps", "1"]
    subprocess.run(
        [
            *(sys.executable, "-m", "tests.benchmarks.training", *command),
            *("--threads", "1", "--data", tmp_path / "none", "--out", out),
        ],
        cwd=ROOT,
        env=environment(),
        check=True,
    )
    assert re.search(r"\| mi-unsafe \| Duet \| [\d.]+ \| [\d,]+ \|", out.read_text())
