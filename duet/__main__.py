"""The command `duet`. It imports a command's module only when it runs that command."""

import importlib
import sys
from dataclasses import dataclass

OURS = ("duet", "export", "service", "tasks", "training")


@dataclass(frozen=True)
class Command:
    """A command: a module with `main(arguments, prog)`, and the extras that it needs."""

    module: str
    extras: str
    help: str
    flags: tuple[str, ...] = ()  # always passed to it


COMMANDS = {
    "serve": Command("service.__main__", "cpu", "serve models over HTTP"),
    "check": Command("service.__main__", "cpu", "check settings and models", ("--check",)),
    "batch": Command("service.bulk.__main__", "cpu", "answer every row of a file"),
    "teach": Command("training.teacher", "teacher", "ask a big model for labels and rationales"),
    "init": Command("training.init", "training", "look at rows, and write a recipe for them"),
    "distill": Command("training.distill", "training", "train a student by a recipe"),
    "evaluate": Command(
        "training.evaluate", "training,evaluation", "measure a model on labelled rows"
    ),
    "export": Command("export.convert", "export", "turn a trained student into a bundle to serve"),
    "admit": Command("export.admit", "export", "replace a bundle by one that passed the gate"),
    "refresh": Command(
        "duet.refresh.__main__", "export,evaluation", "replace a served student by a new one"
    ),
    "ablate": Command("training.ablate", "training", "compare objectives by a plan"),
}


def main(argv: list[str] | None = None) -> int | None:
    """Runs a command in this process and returns its exit status, None for 0.

    Returns 2 if there is no such command or a package is missing, and 130 after Ctrl-C.
    """
    name, *arguments = (sys.argv[1:] if argv is None else argv) or [""]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name not in COMMANDS:
        problem = f"duet: there is no command {name!r}; `duet --help` lists them"
        print(problem if name else _help(), file=sys.stderr)
        return 2
    command = COMMANDS[name]
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in OURS:
            raise
        print(
            f"duet {name}: {package} is missing: pip install '.[{command.extras}]'",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:  # the imports of a command take seconds
        print(f"duet {name}: stopped", file=sys.stderr)
        return 130
    status: int | None = module.main([*arguments, *command.flags], f"duet {name}")
    return status


def _help() -> str:
    listed = "\n".join(f"  {name:<10}{command.help}" for name, command in COMMANDS.items())
    return (
        f"usage: duet COMMAND ...\n\ncommands:\n{listed}\n\n"
        "`duet COMMAND --help` lists a command's settings."
    )


if __name__ == "__main__":
    sys.exit(main())
