"""What the command refuses before it asks anything, and how it says so."""

import sys
from pathlib import Path

import pytest

from tests.support.fake_openai import chatting
from tests.support.fake_teacher import NOBODY, Row, command, complaint, teach
from training import teacher


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--what"], "teacher: unrecognized arguments: --what"),
        (["--samples", "many"], "teacher: --samples: expected a whole number"),
        (["--budget", "1"], "teacher: --budget: needs --prices"),
        (["--recipe", "r.yaml"], "teacher: --task: expected one of --task and --recipe"),
    ],
)
def test_a_wrong_command_line(
    out: Path, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint(out, capsys, *arguments).startswith(problem)
    assert not out.parent.exists()


def test_what_is_there_is_not_written_over(
    out: Path, problems: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    out.parent.mkdir()
    out.write_text("my own\n")
    line = complaint(out, capsys)
    assert "is there already, without its a.answers.sqlite: choose another file" in line
    assert out.read_text() == "my own\n"
    out.unlink()
    for name, problem in (
        ("a.answers.jsonl", "a.answers.jsonl, line 1: not a teacher's answer"),
        ("a.answers.sqlite", "a.answers.sqlite: not a store of answers; move it away"),
    ):
        (out.parent / name).write_text("my own\n" * 200)
        assert problem in complaint(out, capsys)
        assert (out.parent / name).read_text() == "my own\n" * 200


@pytest.mark.parametrize(
    ("content", "arguments", "problem"),
    [
        ('{"text": "One?"}\n{"txt": "Two?"}\n', [], 'line 2: no "text"; there is txt'),
        ('{"text": "One?"}\n', ["--given-label"], 'line 1: no "label"; there is text'),
        ("\n", [], "rows.jsonl: there are no rows"),
        ('{"text": "One?"}\n', ["--prompt", "none.yaml"], "none.yaml: no such file"),
        (
            '{"text": "One?"}\n',
            ["--prices", "1", "2", "--budget", "1", "--body", '{"max_tokens": null}'],
            "--budget: the cost of an answer has no limit; set max_completion_tokens or max_tokens",
        ),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_asked(
    out: Path,
    tmp_path: Path,
    content: str,
    arguments: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    with chatting(teach) as chat:
        assert problem in complaint(out, capsys, *arguments, url=chat.url)
        assert not chat.requests
    assert not out.parent.exists()


def test_a_template_that_fails_on_some_row_stops_it_before_any_is_asked(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "One?\\nTwo"}\n{"text": "One?"}\n')
    prompt = tmp_path / "prompt.yaml"
    prompt.write_text("instructions: Solve it.\nquestion: '{{ text.splitlines()[-1][3] }}'\n")
    line = complaint(out, capsys, "--prompt", str(prompt))
    assert "rows.jsonl, line 1: the prompt's question fails" in line


def test_the_client_may_be_missing(
    out: Path,
    problems: list[Row],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in [name for name in sys.modules if name.startswith("training.annotation.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "openai", None)
    line = complaint(out, capsys)
    assert "the package openai is missing: pip install '.[teacher]'" in line
    arguments = command(out.parents[1] / "rows.jsonl", out, NOBODY, "--dry-run")
    assert teacher.main(arguments) == 0
