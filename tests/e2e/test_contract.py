"""The HTTP contract: Schemathesis asks a real server all sorts of things, by its own document.

It goes through the document's examples, through every bound and case of every schema, through
requests made up at random and through sequences of requests, valid and not, with all its checks.
DUET_TEST_EXAMPLES says how many are made up for each operation.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx2 as httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from export.bundle import Limits
from tests.support.bundles import LIMITS, copy_bundle
from tests.support.server_process import ROOT, serve

EXAMPLES = os.environ.get("DUET_TEST_EXAMPLES")
CONFIG = Path(__file__).with_name("contract.toml")
SCHEMATHESIS = "import schemathesis.cli; schemathesis.cli.schemathesis(prog_name='schemathesis')"
ADMIN = "admin-key"
ROOM = Limits(**{**LIMITS.model_dump(), "input_tokens": 256})  # for the document's examples


@pytest.mark.parametrize("keys", ["", "user-key"], ids=["without keys", "with keys"])
def test_every_answer_is_as_the_document_says(tiny_bundle: Path, tmp_path: Path, keys: str) -> None:
    models = [
        copy_bundle(tiny_bundle, tmp_path / name, name=name, limits=ROOM)
        for name in ("tiny", "spare")
    ]
    settings = {"DUET_API_KEYS": keys, "DUET_ADMIN_KEYS": ADMIN, "DUET_THREADS": "1"}
    log, report = tmp_path / "log", tmp_path / "report.json"
    with serve(log, "--models", ",".join(map(str, models)), **settings) as server:
        run = subprocess.run(
            [
                *(sys.executable, "-c", SCHEMATHESIS, f"--config-file={CONFIG}"),
                *("run", f"{server.url}/openapi.json", "--checks=all"),
                *(["--max-examples", EXAMPLES] if EXAMPLES else ["--max-examples=2", "--seed=0"]),
                *("--report=json", f"--report-json-path={report}", "--no-color"),
            ],
            cwd=ROOT,
            env=os.environ | {"DUET_TEST_KEY": ADMIN},
            capture_output=True,
            text=True,
        )
        print(run.stdout, run.stderr)
        document = httpx.get(f"{server.url}/openapi.json").json()
        metrics = httpx.get(f"{server.url}/metrics").text
    assert run.returncode == 0
    assert "Traceback" not in log.read_text()
    answered = {
        tuple(sample.labels[label] for label in ("method", "route", "status")): int(sample.value)
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if sample.name == "duet_http_requests_total"
    }
    print(*sorted(answered.items()), sep="\n")
    assert {status for *_, status in answered if status >= "500"} <= {"503", "504"}
    operations = [
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    ]
    tested = json.loads(report.read_text())
    assert tested["operations"]["tested"] == len(operations)
    assert tested["test_cases"]["generated"] >= (1000 if EXAMPLES else 500)
    unanswered = [place for place in operations if not answered.get((*place, "200"))]
    assert not unanswered
