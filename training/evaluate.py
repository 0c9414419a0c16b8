"""Asks a model about labelled rows, and reports how good its answers and rationales are.

MODEL is the folder of a checkpoint, the folder of a bundle, or the address of a service, such as
http://127.0.0.1:8000. If the service needs a key, set the environment variable DUET_API_KEY.
An input that is too long for the model loses its end. To continue a stopped evaluation, give the
same command again.

--compare A B reports the difference of two evaluations on the same rows. With --gate it also
decides whether the bundle of A may replace the bundle of B, and writes verdict.json. It exits
with 1 where A is significantly worse.
"""

import argparse
import logging
import shlex
import sys
from pathlib import Path
from typing import get_args

from tasks.task import Task
from training.config import DistillConfig, load_config
from training.data.row import DataError
from training.data.sources import columns_of
from training.evaluation.collect import collect
from training.evaluation.gate import Evaluated, GateError, Verdict, hold_against, write_verdict
from training.evaluation.labelled import Data, Split, from_file, from_recipe
from training.evaluation.model import Model, ModelError
from training.evaluation.opened import opened
from training.evaluation.predictions import OutputError, read_predictions, read_run
from training.evaluation.temperature import Temperature, fit_temperature
from training.reports.page import Page
from training.run.closing import line_after_evaluation
from training.student.files import write_calibration
from training.yaml_files import ConfigError

log = logging.getLogger("duet.evaluate")


def main(argv: list[str] | None = None, prog: str | None = None) -> int:
    parser = _parser(prog or "evaluate.py")
    arguments = parser.parse_args(argv)
    _check(arguments, parser)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # rouge-score's; the client's, a line for each request; the embedder's, of how it is loaded
    for name in ("absl", "httpx2", "sentence_transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    started = prog.split() if prog else ["python", sys.argv[0]]
    command = shlex.join([*started, *(sys.argv[1:] if argv is None else argv)])
    try:
        # here, so that a missing package is reported before any row is asked about
        from training.evaluation.judge import JudgeError
        from training.evaluation.overlap import EmbedderError
        from training.reports.report import ReportError
    except ModuleNotFoundError as error:
        print(
            f"evaluate: the package {error.name} is missing: pip install '.[evaluation]'",
            file=sys.stderr,
        )
        return 2
    verdict = None
    try:
        if arguments.compare:
            page, verdict = _compare(arguments, command)
        else:
            page = _evaluate(arguments, command)
    except (
        ConfigError,
        DataError,
        ModelError,
        OutputError,
        EmbedderError,
        GateError,
        JudgeError,
        ReportError,
        OSError,
    ) as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("evaluate: stopped; the same command goes on", file=sys.stderr)
        return 130
    print(*page.verdict, arguments.out / f"{page.stem}.html", sep="\n")
    if arguments.calibrate:
        print(line_after_evaluation(Path(arguments.model), prog))
    if verdict is not None and not verdict.admitted:
        print(f"evaluate: {verdict.sentence}", file=sys.stderr)
        return 1
    return 0


# argparse: pydantic-settings would split the values of `--recipe RECIPE key=value …` at commas, and
# takes no list of YAML in them.
def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", nargs="?")
    parser.add_argument(
        "--data", type=Path, metavar="FILE", help="rows as JSON lines, CSV or Parquet"
    )
    parser.add_argument(
        "--recipe",
        nargs="+",
        metavar=("RECIPE.yaml", "key=value"),
        help="a recipe whose rows are used, or with --data its data.columns; key=value as for "
        "distill.py",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("A", "B"),
        help="the folders of two evaluations, in place of MODEL and rows",
    )
    parser.add_argument(
        "--gate",
        action="store_true",
        help="with --compare: decide whether A's bundle may replace B's, and write verdict.json",
    )
    parser.add_argument(
        "--split",
        choices=get_args(Split),
        help="which of the recipe's rows (default: test, or validation if it names no test rows)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="where answers and the report go"
    )
    parser.add_argument(
        "--served-name", metavar="NAME", help="which model of the service (default: its default)"
    )
    parser.add_argument(
        "--calibrate",
        action="store_true",
        help="fit a checkpoint's temperature on the recipe's validation rows, and write it beside "
        "the checkpoint for export; with --data too, the report is of the file's rows",
    )
    parser.add_argument(
        "--embedder", metavar="NAME", help="an embedding model that compares rationales by meaning"
    )
    parser.add_argument(
        "--judge",
        metavar="URL",
        help="an OpenAI-compatible endpoint that scores the rationales, such as "
        "http://127.0.0.1:8001/v1; its key is in OPENAI_API_KEY",
    )
    parser.add_argument("--judge-model", metavar="NAME", help="the model that judges")
    parser.add_argument(
        "--force",
        action="store_true",
        help="start anew where FOLDER has answers of another model or to other rows",
    )
    return parser


def _check(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    recipe = None if arguments.data else arguments.recipe  # else it reads the file, and fits
    sources = [arguments.data, recipe, arguments.compare]
    if sum(source is not None for source in sources) != 1:
        parser.error("expected one of --data, --recipe and --compare")
    if arguments.compare:
        names = ("split", "served_name", "calibrate", "embedder", "judge", "judge_model", "force")
        given = [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name)]
        if arguments.model is not None:
            given.insert(0, "MODEL")
        if given:
            parser.error(f"--compare: leave {', '.join(given)} out")
    elif arguments.model is None:
        parser.error("expected MODEL")
    elif arguments.gate:
        parser.error("--gate needs --compare A B")
    if (arguments.split and not recipe) or (arguments.calibrate and not arguments.recipe):
        parser.error("--split and --calibrate are of a --recipe; a file has no splits")
    if (arguments.judge is None) != (arguments.judge_model is None):
        parser.error("--judge and --judge-model belong together")


def _evaluate(arguments: argparse.Namespace, command: str) -> Page:
    from training.evaluation.evaluation import evaluate
    from training.evaluation.judge import Judge
    from training.reports.report import SEED, EvaluationReport, versions, write_evaluation

    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    split = _split(arguments)
    temperature = None
    with opened(arguments.model, out, arguments.served_name) as model:
        task = model.task
        if arguments.calibrate:
            temperature = _calibrate(model, arguments)
        data = _data(arguments, split, task)
        collect(model, data, out, source=arguments.model, force=arguments.force)
    try:
        found = evaluate(
            [*read_predictions(out)],
            task,
            temperature=temperature,
            fitted_here=split == "validation",
            embedder=arguments.embedder,
            judge=arguments.judge and Judge(arguments.judge, arguments.judge_model),
            judgements=out / "judgements.sqlite",
            seed=SEED,
        )
    except ValueError as error:  # a label that is none of a closed set
        raise DataError(f"{data.source}: {error}") from error
    return write_evaluation(out, EvaluationReport(read_run(out), task, command, versions(), found))


def _compare(arguments: argparse.Namespace, command: str) -> tuple[Page, Verdict | None]:
    from training.reports.report import compare_evaluations, read_evaluation

    def evaluated(folder: Path) -> Evaluated:
        report = read_evaluation(folder)
        return Evaluated(report.run, report.task, [*read_predictions(folder)])

    a, b = arguments.compare
    path = arguments.out / "verdict.json"
    path.unlink(missing_ok=True)  # of an earlier comparison
    page = compare_evaluations(a, b, arguments.out, command)
    if not arguments.gate:
        return page, None
    verdict = hold_against(evaluated(a), evaluated(b))
    write_verdict(path, verdict)
    return page, verdict


def _calibrate(model: Model, arguments: argparse.Namespace) -> Temperature:
    """Fits the temperature on validation rows, even if the report is on other rows."""
    folder = Path(arguments.model)
    if not (folder / "student.json").is_file():
        raise ModelError(
            f"--calibrate: {arguments.model} is no checkpoint, and export takes a temperature "
            "from one"
        )
    data = from_recipe(_config(arguments), "validation", model.task)
    out = arguments.out / "validation"
    out.mkdir(exist_ok=True)
    collect(model, data, out, source=arguments.model, force=arguments.force)
    try:
        fitted = fit_temperature([*read_predictions(out)])
    except ValueError as error:
        raise DataError(f"{data.source}: {error}") from error
    fitted_on = f"{data.count} rows of {data.source}, SHA-256 {data.fingerprint}"
    write_calibration(folder, fitted.calibration(fitted_on))
    return fitted


def _config(arguments: argparse.Namespace) -> DistillConfig:
    recipe, *overrides = arguments.recipe
    return load_config(Path(recipe), overrides)


def _split(arguments: argparse.Namespace) -> Split | None:
    """Which rows of the recipe the report is on; None if it is on a file's."""
    if arguments.data:
        return None
    if arguments.split is None and _config(arguments).data.test is None:
        log.info("the recipe names no test rows: the report is on its validation rows")
        return "validation"
    return arguments.split or "test"


def _data(arguments: argparse.Namespace, split: Split | None, task: Task) -> Data:
    if split is None:
        columns = columns_of(_config(arguments).data) if arguments.recipe else None
        return from_file(arguments.data, task, columns)
    return from_recipe(_config(arguments), split, task)


if __name__ == "__main__":
    sys.exit(main())
