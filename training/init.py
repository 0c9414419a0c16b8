"""Writes a first recipe for rows: `duet init ROWS` looks at them and at this machine.

ROWS is a file (*.jsonl, *.csv, *.parquet), a folder that `datasets` reads, or the name of a data
set on the Hugging Face hub. A wrong guess can be set right by a flag, or in the recipe.
"""

import argparse
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from tasks.durable_files import replace_text
from training.data.files import read_rows
from training.data.row import DataError
from training.start.commented_yaml import commented_yaml
from training.start.origin import data_keys
from training.yaml_files import ConfigError


def main(argv: list[str] | None = None, prog: str = "init.py") -> int:
    """Runs the command. Returns 0, or 2 where something is wrong."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", metavar="ROWS")
    parser.add_argument("--out", type=Path, metavar="NAME.yaml", help="by default, as ROWS")
    parser.add_argument("--name", type=_name, help="of the student; by default, as the recipe")
    parser.add_argument("--label", metavar="COLUMN")
    parser.add_argument("--fields", type=_names, metavar="COLUMN,…", help="what the student reads")
    parser.add_argument("--rationale", type=_names, metavar="COLUMN,…", help="or `none`")
    parser.add_argument("--validation", metavar="FILE", help="or the split of a data set")
    parser.add_argument("--test", metavar="FILE", help="or the split of a data set")
    parser.add_argument("--model", metavar="NAME", help="of a T5, its folder, or `scratch`")
    parser.add_argument("--force", action="store_true", help="write over a recipe")
    arguments = parser.parse_args(argv)
    out = arguments.out or Path(f"{_stem(arguments.rows)}.yaml")
    if out.exists() and not arguments.force:
        return _tell(f"{out} is there already; give --force to write over it, or another --out")
    try:
        _check_files(data_keys(arguments.rows, arguments.validation, arguments.test))
    except DataError as error:
        return _tell(str(error))
    # torch's threads wait asleep: on a busy machine, those that spin take most of a step's time
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # only now, as torch takes seconds, and reads this variable when it is loaded
    from training.start.comments import comments_of
    from training.start.first_recipe import Wishes, find_recipe
    from training.start.summary import summary

    wishes = Wishes(
        arguments.rows,
        arguments.name or _stem(str(out)),
        arguments.validation,
        arguments.test,
        arguments.label,
        arguments.fields,
        [] if arguments.rationale == ["none"] else arguments.rationale,
        arguments.model,
    )
    try:
        found = find_recipe(wishes)
        command = shlex.join([*prog.split(), *(sys.argv[1:] if argv is None else argv)])
        text = f"# Written by: {command}\n# training/README.md explains every key.\n"
        text += commented_yaml(found.content, comments_of(found))
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_text(out, text)
    except (ConfigError, DataError, OSError) as error:
        return _tell(str(error))
    except KeyboardInterrupt:
        return _tell("stopped; nothing was written", 130)
    print(summary(found), end="")
    print(f"\nThe recipe is {out}. Read it, then: {_next(out)}")
    return 0


def _check_files(keys: dict[str, Any]) -> None:
    """Raises DataError if a file of rows is not there, or its first row is wrong."""
    if keys["format"] != "hub":
        for split in ("train", "validation", "test"):
            if split in keys:
                next(read_rows(Path(keys[split]), keys["format"]), None)


def _next(recipe: Path) -> str:
    if os.environ.get("MAKELEVEL"):
        return shlex.join(["make", "distill", f"RECIPE={recipe}"])
    return shlex.join(["duet", "distill", str(recipe)])


def _tell(text: str, status: int = 2) -> int:
    print(f"init: {text}", file=sys.stderr)
    return status


def _stem(rows: str) -> str:
    """A name for a recipe, and for a student."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(rows).stem).strip("-._")
    return stem[:100] or "student"


def _name(text: str) -> str:
    if _stem(f"{text}.yaml") != text:
        raise argparse.ArgumentTypeError("expected letters, digits, dots, dashes and underscores")
    return text


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    sys.exit(main())
