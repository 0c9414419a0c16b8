"""Asks a model about labelled rows, and says how good its answers are.

MODEL is a checkpoint's folder, a bundle's, or a service's address, as http://127.0.0.1:8000, whose
key, where it wants one, is in the environment variable DUET_API_KEY. What is too long for the model
loses its end. The same command goes on where a stopped one was.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from training.config import ConfigError, load_config
from training.data import DataError
from training.evaluation.collect import collect
from training.evaluation.labelled import Data, Split, from_file, from_recipe
from training.evaluation.model import Model, ModelError
from training.evaluation.predictions import OutputError, read_predictions
from training.evaluation.summary import summarise
from training.tasks import Task

SUMMARY = "summary.json"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument(
        "--data", type=Path, metavar="FILE", help="rows as JSON lines, CSV or Parquet"
    )
    data.add_argument(
        "--recipe",
        nargs="+",
        metavar=("RECIPE.yaml", "key=value"),
        help="a recipe, whose rows are taken; key=value as for distill.py",
    )
    parser.add_argument(
        "--split", choices=get_args(Split), help="of the recipe's rows (default: test)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="for answers and results"
    )
    parser.add_argument(
        "--served-name", metavar="NAME", help="of a service's models (default: its default one)"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="begin anew where FOLDER has the answers of another model, or to other rows",
    )
    arguments = parser.parse_args(argv)
    if arguments.split and not arguments.recipe:
        parser.error("--split is of a --recipe; a file has none")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        summary = _evaluate(arguments)
    except (ConfigError, DataError, ModelError, OutputError, OSError) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("evaluate: stopped; the same command goes on", file=sys.stderr)
        return 130
    print(summary)
    return 0


def _evaluate(arguments: argparse.Namespace) -> str:
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    with _opened(arguments.model, out, arguments.served_name) as model:
        data = _data(arguments, model.task)
        collect(model, data, out, source=arguments.model, force=arguments.force)
    summary = json.dumps(summarise(read_predictions(out)), indent=2)
    (out / SUMMARY).write_text(f"{summary}\n", encoding="utf-8")
    return summary


@contextmanager
def _opened(name: str, out: Path, served_name: str | None) -> Iterator[Model]:
    if name.startswith(("http://", "https://")):
        from training.evaluation.remote import RemoteModel

        yield RemoteModel.connect(name, served_name, os.environ.get("DUET_API_KEY"))
        return
    if served_name is not None:
        raise ModelError(f"--served-name: {name} is no service; leave it out")
    folder = Path(name)
    if (folder / "manifest.json").is_file():
        from training.evaluation.served import served

        with served(folder, out / "service.log") as model:
            yield model
    elif (folder / "student.json").is_file():
        from training.evaluation.checkpoint import Checkpoint  # only here torch must be there

        yield Checkpoint.load(folder)
    else:
        raise ModelError(
            f"{name}: expected a checkpoint (a folder with student.json), a bundle (one with "
            "manifest.json), or a service's address, as http://127.0.0.1:8000"
        )


def _data(arguments: argparse.Namespace, task: Task) -> Data:
    if arguments.data:
        return from_file(arguments.data, task)
    recipe, *overrides = arguments.recipe
    return from_recipe(load_config(Path(recipe), overrides), arguments.split or "test", task)


if __name__ == "__main__":
    sys.exit(main())
