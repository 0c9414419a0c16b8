"""The error message of a command."""

from collections.abc import Callable

import pytest

from training.distill import main


def complaint_of(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    main: Callable[[list[str]], int] = main,
    name: str = "distill",
) -> str:
    """The only line on stderr of a command that must exit with 2."""
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    (line,) = [line for line in printed.splitlines() if line.startswith(f"{name}: ")]
    assert printed.endswith(f"{line}\n")
    return line
