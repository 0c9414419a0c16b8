"""What the README shows is what a newcomer gets."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from tests.support.seeded_rows import make_rows, write_rows
from tests.support.server_process import ROOT, TIMEOUT, Server, environment, serve
from tests.support.tickets import ticket

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.M)


def test_the_request_has_the_answer_shown(tmp_path: Path) -> None:
    (request,) = (block for block in blocks("sh") if block.startswith("curl "))
    shown = blocks("json")[0]
    _, url, _, header, _, body = shlex.split(request.replace("\\\n", " "))
    name, _, value = header.partition(": ")
    with serve(tmp_path / "log") as server:  # the embedded student
        path = urlsplit(url).path
        answer = httpx.post(server.url + path, headers={name: value}, content=body.encode()).json()
    expected = json.loads(shown)
    for numbers in (expected, expected["scores"][0]):
        for key in {"confidence", "score"} & numbers.keys():
            numbers[key] = pytest.approx(numbers[key], rel=1e-3)  # processors round differently
    assert answer == expected


def test_the_python_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    (shown,) = blocks("text")
    with serve(tmp_path / "log") as server:
        exec(code.replace("http://127.0.0.1:8000", server.url), {})
    confidence = re.compile(r"0\.\d+")  # processors round differently
    printed = capsys.readouterr().out
    assert confidence.sub("…", printed) == confidence.sub("…", shown)
    found, expected = (float(confidence.findall(text)[0]) for text in (printed, shown))
    assert found == pytest.approx(expected, rel=1e-3)


def test_from_a_file_to_a_served_student(tmp_path: Path) -> None:
    """The five commands, as they stand there, without the hub."""
    row = json.loads(blocks("json")[1])
    (commands,) = (block for block in blocks("sh") if "make distill" in block)
    *making, serving = (line.partition("#")[0].strip() for line in commands.splitlines())
    assert [command.split()[1] for command in making] == ["init", "distill", "evaluate", "export"]
    rows = [{"ticket": one.pop("input"), **one} for one in make_rows(ticket, 500, seed=0)]
    assert rows[0].keys() == row.keys()
    write_rows(tmp_path / "tickets.jsonl", rows)
    for entry in (path for path in ROOT.iterdir() if path.name not in ("runs", "bundles")):
        (tmp_path / entry.name).symlink_to(entry)  # a clone, as far as the commands see

    # one thread, as other tests have the other cores
    alone = environment(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    for command in making:
        done = subprocess.run(
            shlex.split(command), cwd=tmp_path, env=alone, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs/tickets/evaluation/report.html").is_file()
    command = shlex.split(f'{serving.removesuffix(chr(34))} --port 0"')
    answer = served(command, tmp_path, row["ticket"])
    assert answer["label"] == row["label"]
    assert answer["rationale"] in {one["rationale"] for one in rows if one["label"] == "billing"}


def served(command: list[str], folder: Path, ticket: str) -> dict[str, Any]:
    """What a service that the command starts in a folder answers to a ticket."""
    log = folder / "service.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=file, stderr=subprocess.STDOUT
        )
    server = Server(process, log)
    try:
        server.wait_until_it_listens()
        body = {"inputs": ticket, "explain": True}
        answer: dict[str, Any] = httpx.post(
            f"{server.url}/predict", json=body, timeout=TIMEOUT
        ).json()
        return answer
    finally:
        process.terminate()  # make passes it on, as a shell does to what it runs
        process.wait(TIMEOUT)
