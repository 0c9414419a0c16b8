"""What a command says of a command line that it refuses."""

from collections.abc import Callable

import pytest

from training.distill import main


def complaint_of(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    main: Callable[[list[str]], int] = main,
    name: str = "distill",
) -> str:
    """Its one line, on stderr, after which there is nothing; it must exit with 2."""
    assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    (line,) = [line for line in printed.splitlines() if line.startswith(f"{name}: ")]
    assert printed.endswith(f"{line}\n")
    return line
