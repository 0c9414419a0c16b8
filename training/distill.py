"""Distils a student: `python training/distill.py RECIPE.yaml [key=value …]`.

On several processes: `torchrun --nproc-per-node N training/distill.py RECIPE.yaml …`.
"""

import argparse
import logging
import shlex
import sys
import warnings
from pathlib import Path

import torch
import transformers

from training.config import dump_config, load_config
from training.data.row import DataError
from training.data.splits import load_splits
from training.run.closing import closing_lines
from training.run.distillation import distill
from training.run.distributed import is_main_process, leave_group
from training.run.folder import is_distilled
from training.run.interruption import Interrupted
from training.run.student import load_base
from training.student.files import read_record
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
    # these warnings are of how Duet uses transformers, and nothing that its user could change
    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", module=r"transformers\.")
    started = prog.split() if prog else ["python", sys.argv[0]]
    command = shlex.join([*started, *(sys.argv[1:] if argv is None else argv)])
    status = _run(arguments, command, prog)
    leave_group()
    return status


def _run(arguments: argparse.Namespace, command: str, prog: str | None) -> int:
    try:
        config = load_config(arguments.recipe, arguments.overrides)
        if arguments.print_config:
            print(dump_config(config), end="")
            return 0
        # before the rows, which may take long to read
        base = None if is_distilled(config) else load_base(config)
        distill(config, load_splits(config), command, arguments.force, base)
    except (ConfigError, DataError, OSError) as error:
        print(f"distill: {error}", file=sys.stderr)
        return 2
    except torch.OutOfMemoryError as error:
        print(
            "distill: the GPU has too little memory; take a smaller batch_size, or more "
            f"gradient_accumulation_steps ({str(error).partition('. ')[0]})",
            file=sys.stderr,
        )
        return 2
    except Interrupted as stop:
        print(
            "distill: stopped; the same command goes on from the last checkpoint", file=sys.stderr
        )
        return stop.exit_code
    except KeyboardInterrupt:
        print(
            "distill: stopped; the same command goes on from the last checkpoint, if there is one",
            file=sys.stderr,
        )
        return 130
    if is_main_process():
        recipe, overrides, folder = arguments.recipe, arguments.overrides, config.output_dir
        print(*closing_lines(recipe, overrides, folder, read_record(folder), prog), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
