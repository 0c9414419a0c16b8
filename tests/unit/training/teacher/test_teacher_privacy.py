"""What leaves this machine, and what does not."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.fake_openai import Reply, chatting, said
from tests.support.fake_teacher import (
    MUTE,
    Row,
    ask,
    command,
    environment,
    failed,
    lines,
    problem_of,
    program,
    teach,
)
from tests.support.server_process import ROOT, TIMEOUT
from tests.support.simple_problems import write_problems

KEY = "sk-not-to-be-shown"


def test_a_dry_run_shows_exactly_what_is_sent(
    out: Path, problems: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    def respond(body: Row, number: int) -> Reply:
        return MUTE if problem_of(body)["label"] == problems[0]["label"] else teach(body)

    def dry(*arguments: str) -> list[Row]:
        capsys.readouterr()
        assert ask(out, chat, "--dry-run", *arguments) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    def sent(*arguments: str) -> list[Row]:
        before = len(chat.requests)
        ask(out, chat, *arguments)
        return [
            {name: value for name, value in body.items() if name != "path"}
            for body in chat.requests[before:]
        ]

    with chatting(respond) as chat:
        shown = dry("--concurrency", "1")
        assert not chat.requests
        assert not out.parent.exists()
        assert len(shown) == 30
        requests = sent("--concurrency", "1")
        first = [body for body in requests if body["messages"][-1]["role"] == "user"]
        assert [body for body in first if body in shown] == shown
        repairs = [body for body in requests if body not in shown]
        assert len(repairs) == len(failed(out)) > 0
        assert dry() == []
        shown = dry("--retry-failed")
        assert len(shown) == len(failed(out))
        assert sent("--retry-failed", "--concurrency", "1")[: 2 * len(shown) : 2] == shown
        assert len(dry("--samples", "3")) == 90  # at another temperature
        assert len(dry("--limit", "4", "--model", "n")) == 4


def test_a_dry_run_needs_no_endpoint_and_no_reader_to_its_end(
    out: Path, problems: list[Row], tmp_path: Path
) -> None:
    write_problems(tmp_path / "rows.jsonl", rows=1000, seed=0)
    arguments = command(tmp_path / "rows.jsonl", out, "http://127.0.0.1:9/v1", "--dry-run")
    process = subprocess.Popen(
        program(*arguments),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert json.loads(process.stdout.readline())["model"] == "m"
    process.stdout.close()
    _, complaint = process.communicate(timeout=TIMEOUT)
    assert complaint == b""


def test_the_key_is_sent_and_stands_nowhere(
    out: Path,
    problems: list[Row],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    echo = json.dumps({"error": {"message": f"Bearer {KEY} is busy"}})
    stubborn = problems[0]["input"]

    def respond(body: Row, number: int) -> Reply:
        if problem_of(body)["input"] == stubborn:
            return Reply(400 if number % 2 else 503, echo)
        return Reply(500, echo) if number % 3 == 0 else teach(body)

    with chatting(respond) as chat:
        ask(out, chat, "--tries", "3")
        ask(out, chat, "--dry-run", "--model", "n")
        assert {headers["authorization"] for headers in chat.headers} == {f"Bearer {KEY}"}
    printed = capfd.readouterr()
    written = [path.read_bytes().decode(errors="replace") for path in out.parent.iterdir()]
    assert len(written) == 5
    assert "(the key)" in "".join(written)
    for text in (printed.out, printed.err, *written):
        assert KEY not in text


def test_nothing_is_sent_but_the_prompt(out: Path, tmp_path: Path) -> None:
    row = {"text": "Ada has 9 eggs and loses 2.", "id": "secret-1", "label": "( 9 - 2 )"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row | {"note": "secret-2"}) + "\n")
    with chatting(lambda body, number: said("9 - 2 = 7.\nAnswer: ( 9 - 2 )")) as chat:
        assert ask(out, chat) == 0
    [body], [headers] = chat.requests, chat.headers
    assert body["messages"][-1]["content"] == row["text"]
    sent = json.dumps([body, headers])
    for secret in ("secret", "( 9 - 2 )", str(tmp_path), os.uname().nodename, "python", "Linux"):
        assert secret not in sent
    assert lines(out)[0]["note"] == "secret-2"
