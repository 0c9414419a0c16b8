"""A teacher of word problems for tests: its answers, and the command that asks it."""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_errors import complaint_of
from tests.support.fake_openai import Chat, Reply, said
from tests.support.server_process import ROOT
from tests.support.simple_problems import solve
from training import teacher

Row = dict[str, Any]

NOBODY = "http://127.0.0.1:9/v1"  # no endpoint listens there
MUTE = said("I had rather not say.")  # an answer that names no label


def problem_of(body: Row) -> dict[str, str]:
    """The row that a request is about, found by its text. The prompt's examples do not count."""
    texts = (message["content"].split("\n\n")[0] for message in body["messages"])  # a label follows
    (row,) = filter(None, map(solve, texts))
    return row


def solved(body: Row) -> str:
    """The right answer to a request, in the form that it asks for."""
    row = problem_of(body)
    if "response_format" in body:
        return json.dumps({"rationale": row["rationale"], "label": row["label"]})
    return f"{row['rationale']}\nAnswer: {row['label']}"


def teach(body: Row, number: int = 0) -> Reply:
    return said(solved(body))


def command(data: Path, out: Path, url: str, *arguments: str) -> list[str]:
    """The arguments of `teacher.py` for word problems."""
    named = {"--data": data, "--task": "svamp", "--out": out, "--base-url": url, "--model": "m"}
    return [*(str(part) for pair in named.items() for part in pair), *arguments]


def program(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "training" / "teacher.py"), *arguments]


def environment(**settings: str) -> dict[str, str]:
    """This process's environment without a user's endpoint. Commands import this checkout."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return clean | {"PYTHONPATH": str(ROOT)} | settings


def ask(out: Path, chat: Chat, *arguments: str) -> int:
    """Runs `teacher.py` in this process on the `rows.jsonl` beside OUT's folder."""
    return teacher.main(command(out.parents[1] / "rows.jsonl", out, chat.url, *arguments))


def complaint(
    out: Path, capsys: pytest.CaptureFixture[str], *arguments: str, url: str = NOBODY
) -> str:
    """The one line with which `teacher.py` refuses to ask about the `rows.jsonl` beside it."""
    words = command(out.parents[1] / "rows.jsonl", out, url, *arguments)
    return complaint_of(words, capsys, teacher.main, "teacher")


def asked(chat: Chat) -> Counter[str]:
    """How often the teacher was asked about each problem."""
    return Counter(problem_of(body)["input"] for body in chat.requests)


def annotated(row: Row, **more: Any) -> Row:
    """The row of OUT where the teacher is right."""
    return row | {"teacher_label": row["label"], "label_given": False} | more


def failed(out: Path) -> list[Row]:
    return lines(out.with_suffix(".failed.jsonl"))


def report(out: Path) -> Row:
    content: Row = json.loads(out.with_suffix(".report.json").read_text(encoding="utf-8"))
    return content


def lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
