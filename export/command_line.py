"""The command lines of export: only flags, no environment variables."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from tasks.command_line import from_command_line
from tasks.problems import in_words


class UsageError(ValueError):
    """A command line is wrong. The message names the argument."""


class CommandLine(BaseSettings):
    """The arguments of a command."""

    model_config = SettingsConfigDict(
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        cli_enforce_required=True,
        frozen=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Ignores the environment: a variable named VERSION must not change a bundle."""
        return (init_settings,)


Arguments = TypeVar("Arguments", bound=CommandLine)


def read_command_line(kind: type[Arguments], argv: Sequence[str] | None, prog: str) -> Arguments:
    """The arguments in `argv`; None: the process's own. `prog` is the command in `--help`.

    Raises UsageError. Exits with 2 if a flag is missing or unknown.
    """
    try:
        return from_command_line(kind, argv, prog)
    except ValidationError as error:
        problem = error.errors()[0]
        if not problem["loc"]:
            raise UsageError(in_words(problem)) from error
        flag = str(problem["loc"][0]).replace("_", "-")
        raise UsageError(f"--{flag}: {in_words(problem)}, got {problem['input']!r}") from error
    except SettingsError as error:
        raise UsageError(" ".join(str(error).split())) from error
