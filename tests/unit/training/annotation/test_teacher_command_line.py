import re
from pathlib import Path

import pytest

from training.annotation.command_line import failed_of, journal_of, parse_arguments

NAMED = ["--data", "rows.jsonl", "--task", "svamp", "--out", "runs/a.jsonl", "--model", "m"]


def test_what_is_taken_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = parse_arguments(None, NAMED)
    assert (arguments.base_url, arguments.key) == (None, None)
    assert (arguments.samples, arguments.temperature) == (1, 0.0)
    assert parse_arguments(None, [*NAMED, "--samples", "5"]).temperature == 0.7
    assert parse_arguments(None, [*NAMED, "--temperature", "0.2"]).temperature == 0.2
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8001/v1")
    monkeypatch.setenv("OPENAI_MODEL", "named")
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1\n")
    arguments = parse_arguments(None, NAMED[:-2])
    assert (arguments.base_url, arguments.model, arguments.key) == (
        "http://127.0.0.1:8001/v1",
        "named",
        "sk-1",
    )
    assert parse_arguments(None, [*NAMED, "--base-url", "http://b/v1"]).base_url == "http://b/v1"


def test_the_files_stand_beside_each_other() -> None:
    out = Path("runs/a.b.jsonl")
    assert journal_of(out) == Path("runs/a.b.answers.jsonl")
    assert failed_of(out) == Path("runs/a.b.failed.jsonl")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--task", "tone"], "argument --task: invalid choice: 'tone'"),
        (["--recipe", "r.yaml"], "--recipe: not allowed with argument --task"),
        (["--out", "a.json"], r"--out: expected a file named \*\.jsonl"),
        (["--out", "./rows.jsonl"], "--data: would be written over"),
        (["--data", "runs/a.failed.jsonl"], "--data: would be written over.*--retry-failed"),
        (["--data", "runs/a.answers.jsonl"], "--data: would be written over"),
        (["--model", ""], "--model: name the teacher, here or in OPENAI_MODEL"),
        (["--base-url", "127.0.0.1:8001/v1"], "--base-url: expected an address such as http"),
        (["--base-url", "ftp://a/v1"], "--base-url: expected an address"),
        (["--base-url", "http://[a/v1"], "--base-url: expected an address"),
        (["--base-url", "http://127.0.0.1:99999/v1"], "--base-url: expected an address"),
        (["--limit", "0"], "--limit: expected more than 0"),
        (["--samples", "-1"], "--samples: expected more than 0"),
        (["--samples", "many"], "argument --samples: invalid int value: 'many'"),
        (["--tries", "0"], "--tries: expected more than 0"),
        (["--timeout", "nan"], "--timeout: expected more than 0"),
        (["--requests-per-minute", "0"], "--requests-per-minute: expected more than 0"),
        (["--budget", "1"], "--budget: needs --prices"),
        (["--prices", "1", "2", "--budget", "0"], "--budget: expected more than 0"),
        (["--prices", "1", "-2"], "--prices: expected two numbers"),
        (["--prices", "nan", "2"], "--prices: expected two numbers"),
        (["--temperature", "-1"], "--temperature: expected a number that is not below 0"),
        (["--temperature", "nan"], "--temperature: expected a number that is not below 0"),
        (["--samples", "2", "--temperature", "0"], "--samples: several are alike"),
        (["--body", "{"], "argument --body: not JSON"),
        (["--body", "[1]"], "argument --body: expected a JSON object"),
        (["--body", '{"stream": true, "n": 2}'], "--body: n, stream is the teacher's to set"),
    ],
)
def test_what_is_wrong_is_named(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(None, NAMED + arguments)
    assert caught.value.code == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert re.search(complaint, line), line


@pytest.mark.parametrize("key", ["sk-geheimniß", "sk-\x01secret", "sk-a\nsecret"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(SystemExit):
        parse_arguments(None, NAMED)
    printed = capsys.readouterr().err
    assert "OPENAI_API_KEY: expected characters that a header can hold" in printed
    assert "sk-" not in printed
