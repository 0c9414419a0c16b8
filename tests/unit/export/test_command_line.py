"""What the commands of export read, and what they say of a wrong command line."""

from pathlib import Path

import pytest

from export.admit import AdmitArguments
from export.command_line import UsageError, read_command_line
from export.convert import ConvertArguments


def test_the_documented_command_line() -> None:
    flags = ["--out", "b", "--version", "2.1", "--precision", "int8", "--notes", "n.md"]
    for argv in (["a", *flags], [*flags, "a"]):
        arguments = read_command_line(ConvertArguments, argv, "export")
        assert (arguments.checkpoint, arguments.out) == (Path("a"), Path("b"))
        assert (arguments.version, arguments.precision) == ("2.1", "int8")
        assert (arguments.layout, arguments.notes) == ("duet", Path("n.md"))
    read = read_command_line(AdmitArguments, ["new", "--verdict", "v.json", "--out", "b"], "export")
    assert (read.new, read.verdict, read.out) == (Path("new"), Path("v.json"), Path("b"))


def test_no_environment_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VERSION", "version", "DUET_VERSION", "NOTES", "notes"):
        monkeypatch.setenv(name, "other")
    arguments = read_command_line(ConvertArguments, ["a", "--out", "b"], "export")
    assert (arguments.version, arguments.notes) == ("1", None)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--version", "a b"], "--version: expected 1 to 128 letters, .*, got 'a b'"),
        (["--precision", "int4"], "--precision: expected 'fp32', .*, got 'int4'"),
        (["--layout", "optimum", "--precision", "int8"], "the layout optimum has only --precision"),
    ],
)
def test_a_value_that_is_wrong(arguments: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=f"^{complaint}"):
        read_command_line(ConvertArguments, ["a", "--out", "b", *arguments], "export")


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "the following arguments are required: CHECKPOINT, --out"),
        (["a"], "the following arguments are required: --out"),
        (["a", "--out", "b", "--gate-against", "c"], "unrecognized arguments: --gate-against"),
    ],
)
def test_usage(argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        read_command_line(ConvertArguments, argv, "export")
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err
