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
import yaml

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
    with serve(tmp_path / "log") as server:
        exec(code.replace("http://127.0.0.1:8000", server.url), {})
    assert re.fullmatch(r"\( 48\.0 / 6\.0 \) 0\.\d+ Omar has 48 .+\n", capsys.readouterr().out)


def test_a_students_three_commands(tmp_path: Path) -> None:
    """`make distill`, `make export` and `make serve`, as they stand there."""
    (recipe,) = blocks("yaml")
    row = json.loads(blocks("json")[1])
    (commands,) = (block for block in blocks("sh") if "make distill" in block)
    distill, export, serving = commands.splitlines()

    rows = [{"ticket": one.pop("input"), **one} for one in make_rows(ticket, 500, seed=0)]
    assert rows[0].keys() == row.keys()
    assert row["label"] in yaml.safe_load(recipe)["task"]["labels"]
    write_rows(tmp_path / "tickets.jsonl", rows)
    here = recipe.replace("train: tickets.jsonl", f"train: {tmp_path / 'tickets.jsonl'}")
    (tmp_path / "tickets.yaml").write_text(here, encoding="utf-8")

    def make(command: str, *more: str) -> list[str]:
        for name in ("tickets.yaml", "runs/tickets", "bundles/tickets"):
            command = command.replace(name, str(tmp_path / name))
        return [*shlex.split(command), *more]

    for command in (distill, export):
        # one thread, as other tests have the other cores
        done = subprocess.run(
            make(command),
            cwd=ROOT,
            env=environment(OMP_NUM_THREADS="1"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert serving.endswith('"')
    answer = served(make(f'{serving[:-1]} --port 0"'), tmp_path / "log", row["ticket"])
    assert answer["label"] == row["label"]
    assert answer["rationale"] in {one["rationale"] for one in rows if one["label"] == "billing"}


def served(command: list[str], log: Path, ticket: str) -> dict[str, Any]:
    """What a service that the command starts answers to a ticket."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=file, stderr=subprocess.STDOUT
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
