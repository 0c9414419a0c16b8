"""Distils a student: `python training/distill.py RECIPE.yaml [key=value …]`.

On several processes: `torchrun --nproc-per-node N training/distill.py RECIPE.yaml …`.
"""

import argparse
import logging
import shlex
import sys
from pathlib import Path

from training.config import dump_config, load_config
from training.data.row import DataError
from training.data.splits import load_splits
from training.run.distillation import distill
from training.run.distributed import leave_group
from training.run.interruption import Interrupted
from training.yaml_files import ConfigError


def main(argv: list[str] | None = None, prog: str | None = None) -> int:
    """Runs the command. Returns 0, 2 where something is wrong, or 128 and a signal's number."""
    parser = argparse.ArgumentParser(
        prog=prog or "distill.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="a.b=1 sets b of a")
    parser.add_argument(
        "--print-config", action="store_true", help="print the whole recipe as YAML, and end"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="go on with a recipe, or data, that differ from those of the run in output_dir",
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    command = prog.split() if prog else ["python", sys.argv[0]]
    status = _run(arguments, shlex.join([*command, *(sys.argv[1:] if argv is None else argv)]))
    leave_group()
    return status


def _run(arguments: argparse.Namespace, command: str) -> int:
    try:
        config = load_config(arguments.recipe, arguments.overrides)
        if arguments.print_config:
            print(dump_config(config), end="")
            return 0
        distill(config, load_splits(config), command, arguments.force)
    except (ConfigError, DataError, OSError) as error:
        print(f"distill: {error}", file=sys.stderr)
        return 2
    except (Interrupted, KeyboardInterrupt) as stop:
        print(
            "distill: stopped; the same command goes on from the last checkpoint", file=sys.stderr
        )
        return stop.exit_code if isinstance(stop, Interrupted) else 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
