"""Reports of evaluations and comparisons: HTML for people, Markdown, and JSON for programs."""

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import jinja2
from pydantic import TypeAdapter, ValidationError

from tasks.task import TrainedTask
from training.evaluation.cases import Case, choose_differences
from training.evaluation.comparison import Comparison, DifferentRowsError, compare
from training.evaluation.evaluation import Evaluation
from training.evaluation.predictions import RUN, Run, read_predictions
from training.reports.comparison_page import comparison_page
from training.reports.evaluation_page import evaluation_page
from training.reports.markdown import as_fenced, as_plain, table
from training.reports.page import Page, Table

PACKAGES = (
    "duet",
    "torch",
    "transformers",
    "tokenizers",
    "onnxruntime",
    "numpy",
    "scipy",
    "scikit-learn",
    "sacrebleu",
    "rouge-score",
    "nltk",
    "sentence-transformers",
)  # which decide figures

SEED = 0  # of the cases


class ReportError(ValueError):
    """A folder has no finished evaluation, or one of other rows. The message says what to do."""


@dataclass(frozen=True)
class EvaluationReport:
    """What `report.json` holds."""

    run: Run
    task: TrainedTask  # the model's
    command: str
    versions: dict[str, str]
    evaluation: Evaluation


@dataclass(frozen=True)
class ComparisonReport:
    """What `comparison.json` holds."""

    a: EvaluationReport
    b: EvaluationReport
    command: str
    versions: dict[str, str]
    comparison: Comparison
    cases: list[Case]
    seed: int


def versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that decide figures."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_evaluation(folder: Path, report: EvaluationReport) -> Page:
    """Writes `report.html`, `report.md` and `report.json`."""
    signatures = report.evaluation.rationales.signatures
    rows = [
        *_run_rows(report.run),
        *((f"signature of {name}", signature) for name, signature in signatures.items()),
    ]
    page = evaluation_page(report.run, report.evaluation, _reproduce(report, rows))
    _write(folder, page, TypeAdapter(EvaluationReport).dump_json(report, indent=2))
    return page


def write_comparison(folder: Path, report: ComparisonReport) -> Page:
    """Writes `comparison.html`, `comparison.md` and `comparison.json`."""
    rows = [
        (f"{letter}: {name}", value)
        for letter, run in (("A", report.a.run), ("B", report.b.run))
        for name, value in _run_rows(run)
    ]
    page = comparison_page(
        report.comparison,
        (report.a.run, report.a.evaluation),
        (report.b.run, report.b.evaluation),
        report.cases,
        _reproduce(report, rows, seed=report.seed),
    )
    _write(folder, page, TypeAdapter(ComparisonReport).dump_json(report, indent=2))
    return page


def compare_evaluations(a: Path, b: Path, out: Path, command: str) -> Page:
    """Compares the evaluations in two folders, and writes the report to `out`.

    Raises ReportError where their rows differ or one is not finished, and OutputError.
    """
    of_a, of_b = read_evaluation(a), read_evaluation(b)
    rows_a, rows_b = [*read_predictions(a)], [*read_predictions(b)]
    try:
        comparison = compare(rows_a, rows_b)
    except DifferentRowsError as error:
        raise ReportError(f"--compare: {error}") from error
    cases = choose_differences(rows_a, rows_b, seed=SEED)
    out.mkdir(parents=True, exist_ok=True)
    report = ComparisonReport(of_a, of_b, command, versions(), comparison, cases, SEED)
    return write_comparison(out, report)


def read_evaluation(folder: Path) -> EvaluationReport:
    """The report of an evaluation that is finished. Raises ReportError."""
    path = folder / "report.json"
    try:
        report = TypeAdapter(EvaluationReport).validate_json(path.read_bytes())
        run = TypeAdapter(Run).validate_json((folder / RUN).read_bytes())
    except OSError as error:
        raise ReportError(
            f"{error.filename}: {error.strerror}; expected an evaluation as evaluate.py leaves it"
        ) from error
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise ReportError(
            f"{folder}: {': '.join(filter(None, (key, problem['msg'])))}; evaluate again"
        ) from error
    if report.run != run:
        raise ReportError(f"{path}: is of another evaluation than {RUN} beside it: evaluate again")
    return report


def _run_rows(run: Run) -> list[tuple[str, str]]:
    return [
        (f"{part}, {name}", value) for part, facts in run.items() for name, value in facts.items()
    ]


def _reproduce(
    report: EvaluationReport | ComparisonReport,
    rows: Sequence[tuple[str, str]],
    seed: int | None = None,
) -> Table:
    drawn = report.evaluation.seed if isinstance(report, EvaluationReport) else seed
    return Table(
        ("what", "value"),
        [
            ("command", report.command),
            *rows,
            ("seed of the cases and intervals", str(drawn)),
            *((f"version of {name}", value) for name, value in report.versions.items()),
        ],
        text=True,
    )


def _write(folder: Path, page: Page, content: bytes) -> None:
    for form, template in _templates().items():
        text = template.render(page=page)
        (folder / f"{page.stem}.{form}").write_text(text, encoding="utf-8")
    (folder / f"{page.stem}.json").write_bytes(content + b"\n")


def _templates() -> dict[str, jinja2.Template]:
    folder = files("training.reports") / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=jinja2.select_autoescape(["html.jinja"], default=False),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": as_plain, "fenced": as_fenced, "table": _as_table}
    environment.filters["unbroken"] = _unbroken
    return {form: environment.get_template(f"page.{form}.jinja") for form in ("html", "md")}


def _unbroken(text: str) -> str:
    """The text with each figure and its sign kept on one line."""
    return re.sub(r" (?=[%…<])|(?<=<) ", "\N{NO-BREAK SPACE}", text)


def _as_table(shown: Table) -> str:
    return table([*map(as_plain, shown.head)], ([*map(as_plain, row)] for row in shown.rows))
