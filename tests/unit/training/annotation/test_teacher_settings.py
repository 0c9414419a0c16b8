import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from tasks.command_line import from_command_line
from training.annotation.settings import TeacherSettings, problem_of

NAMED = ["--data", "rows.jsonl", "--task", "svamp", "--out", "runs/a.jsonl", "--model", "m"]


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BASE_URL", "API_KEY", "MODEL"):
        monkeypatch.delenv(f"OPENAI_{name}", raising=False)


def parsed(*arguments: str) -> TeacherSettings:
    return from_command_line(TeacherSettings, [*NAMED, *arguments], "teacher.py")


def test_what_is_taken_by_default() -> None:
    settings = parsed()
    assert (settings.base_url, settings.key, settings.body) == (None, None, {})
    assert (settings.samples, settings.temperature, settings.prices) == (1, 0.0, [])
    assert parsed("--samples", "5").temperature == 0.7
    assert parsed("--temperature", "0.2").temperature == 0.2


def test_the_endpoint_is_in_the_environment_and_flags_take_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8001/v1")
    monkeypatch.setenv("OPENAI_MODEL", "named")
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1\n")
    settings = from_command_line(TeacherSettings, NAMED[:-2], "teacher.py")
    assert (settings.base_url, settings.model, settings.key) == (
        "http://127.0.0.1:8001/v1",
        "named",
        "sk-1",
    )
    assert "sk-1" not in repr(settings)
    flagged = parsed("--base-url", "http://b/v1")
    assert (flagged.base_url, flagged.model) == ("http://b/v1", "m")
    monkeypatch.setenv("OPENAI_BASE_URL", "127.0.0.1:8001/v1")
    with pytest.raises(ValidationError):
        parsed()


def test_no_other_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TeacherSettings.model_fields:
        for variable in (name.upper(), f"OPENAI_{name.upper()}", f"DUET_{name.upper()}"):
            if variable not in ("OPENAI_BASE_URL", "OPENAI_MODEL"):
                monkeypatch.setenv(variable, "7")
    monkeypatch.setenv("JSON", "true")
    assert parsed() == parsed("--limit", "9").model_copy(update={"limit": None})
    assert parsed().limit is None


def test_flags_of_several_words_and_values() -> None:
    assert parsed("--prices", "2.5", "10", "--budget", "3").prices == [2.5, 10]
    assert parsed("--json", "--given-label").as_json
    body = '{"temperature": null, "stop": ["a, b"], "extra": {"n": 1}}'
    assert parsed("--body", body).body == {
        "temperature": None,
        "stop": ["a, b"],
        "extra": {"n": 1},
    }


def test_the_files_stand_beside_each_other() -> None:
    settings = parsed("--out", "runs/a.b.jsonl")
    assert settings.answers == Path("runs/a.b.answers.sqlite")
    assert settings.old_answers == Path("runs/a.b.answers.jsonl")
    assert settings.failed == Path("runs/a.b.failed.jsonl")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--task", "tone"], "--task: expected one of esnli, anli1, cqa, svamp"),
        (["--recipe", "r.yaml"], "--task: expected one of --task and --recipe"),
        (["--out", "a.json"], r"--out: expected a file named \*\.jsonl"),
        (["--out", "./rows.jsonl"], "--data: would be written over"),
        (["--data", "runs/a.failed.jsonl"], "--data: would be written over.*--retry-failed"),
        (["--data", "runs/a.answers.jsonl"], "--data: would be written over"),
        (["--model", ""], "--model: name the teacher, here or in OPENAI_MODEL"),
        (["--base-url", "127.0.0.1:8001/v1"], "--base-url: expected an address such as http"),
        (["--base-url", "ftp://a/v1"], "--base-url: expected an address"),
        (["--base-url", "http://[a/v1"], "--base-url: expected an address"),
        (["--base-url", "http://127.0.0.1:99999/v1"], "--base-url: expected an address"),
        (["--limit", "0"], "--limit: expected more than 0, got '0'"),
        (["--samples", "-1"], "--samples: expected more than 0, got '-1'"),
        (["--samples", "many"], "--samples: expected a whole number, got 'many'"),
        (["--tries", "0"], "--tries: expected more than 0"),
        (["--timeout", "nan"], "--timeout: expected a finite number, got 'nan'"),
        (["--requests-per-minute", "0"], "--requests-per-minute: expected more than 0"),
        (["--budget", "1"], "--budget: needs --prices"),
        (["--prices", "1", "2", "--budget", "0"], "--budget: expected more than 0"),
        (["--prices", "1", "-2"], "--prices: expected two numbers"),
        (["--prices", "nan", "2"], "--prices: expected two numbers"),
        (["--prices", "1"], "--prices: expected two numbers"),
        (["--temperature", "-1"], "--temperature: expected at least 0"),
        (["--temperature", "nan"], "--temperature: expected a finite number"),
        (
            ["--samples", "2", "--temperature", "0"],
            "--samples: at temperature 0",
        ),
        (["--body", "{"], "--body: not JSON"),
        (["--body", "[1]"], "--body: expected a JSON object"),
        (["--body", '{"stream": true, "n": 2}'], "--body: leave n, stream out"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parsed(*arguments)
    assert re.match(complaint, problem_of(caught.value)), problem_of(caught.value)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["--what"], "unrecognized arguments: --what"), (["--body"], "expected one argument")],
)
def test_a_command_line_that_is_none(arguments: list[str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        parsed(*arguments)


def test_rows_and_their_file_must_be_named() -> None:
    with pytest.raises(ValidationError) as caught:
        from_command_line(TeacherSettings, ["--task", "svamp"], "teacher.py")
    assert problem_of(caught.value) == "--data: missing"


@pytest.mark.parametrize("key", ["sk-geheimniß", "sk-\x01secret", "sk-a\nsecret"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ValidationError) as caught:
        parsed()
    complaint = problem_of(caught.value)
    assert complaint == "OPENAI_API_KEY: expected characters that a header can hold"
    assert "sk-" not in str(caught.value)


def test_help_names_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        from_command_line(TeacherSettings, ["--help"], "duet teach")
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: duet teach ")
    assert "OPENAI_API_KEY" in printed
