"""The parts of a report's page, for HTML and Markdown alike, and how figures are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from training.evaluation.calibration import Bin
from training.evaluation.cases import Case
from training.evaluation.estimate import Estimate
from training.evaluation.predictions import Run
from training.evaluation.record import Record
from training.evaluation.selective import Point

NONE = "–"
A_TENTH = 0.0005  # of a point: smaller shares are written as 0.0


@dataclass(frozen=True)
class Table:
    """A table. The first column is text, the others are figures. With `text`, all are text."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: bool = False


@dataclass(frozen=True)
class Matrix:
    """Counts by gold (rows) and predicted label (columns)."""

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]

    def as_table(self) -> Table:
        rows = [
            (label, *map(str, counts))
            for label, counts in zip(self.labels, self.counts, strict=True)
        ]
        return Table(("", *self.labels), rows)


@dataclass(frozen=True)
class Diagram:
    """Reliability: the accuracy of each bin of confidence."""

    title: str
    bins: Sequence[Bin]

    def as_table(self) -> Table:
        rows = [
            (
                f"{percent(part.low)} … {percent(part.high)}",
                str(part.rows),
                percent(part.confidence),
                percent(part.accuracy),
            )
            for part in self.bins
        ]
        return Table(("confidence", "rows", "mean confidence", "right"), rows)


@dataclass(frozen=True)
class Curves:
    """Risk and coverage: for each name, the curve of its most confident rows."""

    curves: dict[str, Sequence[Point]]


@dataclass(frozen=True)
class Section:
    title: str
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    diagrams: Sequence[Diagram] = ()
    curves: Curves | None = None
    matrix: Matrix | None = None


@dataclass(frozen=True)
class Headline:
    """What a page shows first. Only a difference that is significant is `better` or `worse`."""

    text: str
    note: str
    kind: Literal["figure", "words", "better", "worse"]


@dataclass(frozen=True)
class Page:
    kind: str
    stem: str  # of its files' names
    title: str
    headline: Headline
    verdict: Sequence[str]
    limits: Sequence[str]  # what the figures do not show
    sections: Sequence[Section]
    names: Sequence[str]  # of the models in the cases
    cases: dict[str, list[Case]]  # by kind
    reproduce: Table

    def answers(self, case: Case) -> list[tuple[str, Record]]:
        """What each model said, by the model's name."""
        records = [case.record, *([] if case.other is None else [case.other])]
        return [*zip(self.names, records, strict=True)]

    def question(self, case: Case) -> list[tuple[str, str]]:
        """The fields of the input. They have names if there are several."""
        fields = case.record.input
        texts = [text if isinstance(text, str) else "; ".join(text) for text in fields.values()]
        return [*zip(fields if len(fields) > 1 else [""], texts, strict=True)]

    def worth(self, record: Record) -> str:
        """Whether an answer is right, and how sure the model was."""
        worth = f"{'right' if record.right else 'wrong'}, {percent(record.confidence)} sure"
        return f"{worth}, of an input without its end" if record.truncated else worth


def name_of(run: Run) -> str:
    return run["model"].get("name", run["model"]["source"])


def counted(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows} rows"


def by_kind(cases: Sequence[Case]) -> dict[str, list[Case]]:
    kinds = dict.fromkeys(case.kind for case in cases)
    return {kind: [case for case in cases if case.kind == kind] for kind in kinds}


def percent(share: float | None) -> str:
    return form("%", share)


def points(share: float, sign: str = "") -> str:
    return form(f"{sign}1", 100 * share)


def interval(found: Estimate, kind: str = "%") -> str:
    if found.low is None or found.high is None or found.low == found.high:
        return NONE  # draws of rows that are all alike show nothing
    return " … ".join(bounds(found.low, found.high, kind))


def interval_text(found: Estimate, kind: str = "%") -> str:
    if found.low is None or found.high is None:
        return ", too few for an interval"
    if found.low == found.high:
        return ", the same on every row"
    return f" (95 % interval {' to '.join(bounds(found.low, found.high, kind))})"


def bounds(low: float, high: float, kind: str) -> tuple[str, str]:
    """Both bounds as `form` writes them, with as many decimals as they need to differ."""
    sign, decimals = kind.rstrip("0123456789"), int(kind.lstrip("%+") or 1)
    for more in range(4):
        texts = tuple(form(f"{sign}{decimals + more}", value) for value in (low, high))
        if texts[0] != texts[1]:
            break
    return texts[0], texts[1]


def points_bounds(low: float, high: float, sign: str = "") -> tuple[str, str]:
    return bounds(100 * low, 100 * high, f"{sign}1")


def form(kind: str, value: float | None) -> str:
    """A share as percent ("%", "%2"), or a number ("2"), with so many decimals.

    A "+" in `kind` shows the sign.
    """
    if value is None:
        return NONE
    if kind.startswith("%"):
        return f"{100 * value:.{kind[1:] or 1}f} %"
    text = f"{value:+.{kind[-1]}f}"
    if not text.strip("+-0."):  # zero has no sign
        return text[1:]
    return (text if kind.startswith("+") else text.removeprefix("+")).replace("-", "−")


def shows(found: Estimate, smallest: float) -> bool:
    """Whether the whole interval is on one side of 0, and further from it than `smallest`."""
    if found.low is None or found.high is None:
        return False
    return max(found.low, -found.high) >= smallest


def p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_equals(value: float) -> str:
    """The p-value in a sentence."""
    return f"p {p_value(value)}" if value < 0.001 else f"p = {p_value(value)}"
