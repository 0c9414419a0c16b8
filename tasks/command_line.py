"""Reads a command line into settings, for all commands whose arguments pydantic-settings checks."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic_settings import BaseSettings, CliApp, CliSettingsSource

AnySettings = TypeVar("AnySettings", bound=BaseSettings)


def from_command_line(
    kind: type[AnySettings], arguments: Sequence[str] | None, prog: str
) -> AnySettings:
    """The settings from a command line; None: the process's own arguments.

    `prog` is the command in `--help`. Raises pydantic's ValidationError and SettingsError. Exits
    with 0 after `--help`, and with 2 if a flag is unknown.
    """
    source = CliSettingsSource[Any](kind, cli_prog_name=prog)
    words = None if arguments is None else [*arguments]
    return CliApp.run(kind, cli_args=words, cli_settings_source=source)
