"""The report of a run: how often the teacher is right, why answers failed, and rows to read."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from scipy import stats

from tasks.task import Task
from training.annotation.answer import Annotation
from training.annotation.dialogue import Failure
from training.annotation.results import Result
from training.reports.markdown import as_fenced, as_plain, table

EACH = 3  # rows to read, of each kind
SEED = 0  # draws them
QUANTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass
class Right:
    """How many of the teacher's labels are right, among rows with a known label."""

    right: int = 0
    rows: int = 0

    def count(self, right: bool) -> None:
        self.right += right
        self.rows += 1

    @property
    def share(self) -> float:
        return self.right / self.rows

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share (Wilson, 1927)."""
        found = stats.binomtest(self.right, self.rows).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Reading:
    """A row that the report shows."""

    text: str
    gold: str | None
    label: str | None
    agreement: float | None
    rationale: str | None
    reason: str | None


@dataclass
class Tally:
    """Counts over all rows. It keeps a few numbers of each row, and only the texts of shown rows.

    The shown rows are drawn evenly from each stratum (Vitter, 1985, algorithm R). The stratum of an
    annotated row is whether the teacher is right, with the gold label where labels are closed. The
    stratum of a failed row is the reason.
    """

    task: Task
    samples: int
    label_given: bool
    annotated: int = 0
    not_asked: int = 0
    repaired: int = 0  # answers that were used after a repair
    failures: Counter[str] = field(default_factory=Counter)
    failed_samples: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    right: Right = field(default_factory=Right)
    by_label: dict[str, Right] = field(default_factory=lambda: defaultdict(Right))
    by_agreement: dict[float, Right] = field(default_factory=lambda: defaultdict(Right))
    agreements: Counter[float] = field(default_factory=Counter)
    words: list[int] = field(default_factory=list)
    readings: dict[str, list[Reading]] = field(default_factory=dict)
    _seen: Counter[str] = field(default_factory=Counter)
    _random: random.Random = field(default_factory=lambda: random.Random(SEED))

    def count(self, result: Result) -> None:
        row, outcome = result.source.row, result.outcome
        for exchange in result.exchanges:
            if isinstance(exchange.outcome, Failure):
                self.failed_samples[_kind(exchange.outcome)] += 1
            self.repaired += isinstance(exchange.outcome, Annotation) and len(exchange.requests) > 1
        if outcome is None:
            self.not_asked += 1
            return
        text = self.task.render(row.input)
        if isinstance(outcome, Failure):
            reason = _kind(outcome)
            self.failures[reason] += 1
            reading = Reading(text, row.label, None, None, outcome.answer, outcome.reason)
            self._draw(f"failed: {reason}", reading)
            return
        self.annotated += 1
        self.words += [len(rationale.split()) for rationale in outcome.rationales]
        stratum = self._judge(row.label, outcome)
        reading = Reading(
            text, row.label, outcome.label, outcome.agreement, outcome.rationales[0], None
        )
        self._draw(stratum, reading)

    def _judge(self, gold: str | None, outcome: Annotation) -> str:
        closed = self.task.labels != "open" and self.task.choices is None
        if closed:
            self.labels[outcome.label] += 1
        agreement = round(outcome.agreement, 4)
        self.agreements[agreement] += 1
        if gold is None or self.label_given:
            return outcome.label if closed else "annotated"
        right = self.task.is_right(outcome.label, gold)
        self.right.count(right)
        self.by_agreement[agreement].count(right)
        if closed:
            self.by_label[gold].count(right)
        return f"{f'{gold}, ' if closed else ''}{'right' if right else 'wrong'}"

    def _draw(self, stratum: str, reading: Reading) -> None:
        drawn = self.readings.setdefault(stratum, [])
        self._seen[stratum] += 1
        if len(drawn) < EACH:
            drawn.append(reading)
        elif (place := self._random.randrange(self._seen[stratum])) < EACH:
            drawn[place] = reading


def _kind(failure: Failure) -> str:
    return failure.reason.split(": ")[0]  # the rest may differ from row to row


def counted(found: Iterator[Result], tally: Tally) -> Tally:
    for result in found:
        tally.count(result)
    return tally


def write_report(out: Path, tally: Tally, facts: dict[str, Any]) -> Path:
    """Writes the report beside `out`, as Markdown and as JSON; `facts` describe the run."""
    content = {
        "run": facts,
        "rows": {
            "annotated": tally.annotated,
            "failed": tally.failures.total(),
            "not_asked": tally.not_asked,
        },
        "repaired": tally.repaired,
        "failures": dict(tally.failures.most_common()),
        "failed_samples": dict(tally.failed_samples.most_common()),
        "labels": dict(tally.labels.most_common()),
        "agreement_with_gold": _right(tally.right),
        "agreement_with_gold_by_label": {k: _right(v) for k, v in sorted(tally.by_label.items())},
        "agreement_among_samples": [
            {"agreement": agreement, "rows": rows, "right": _right(tally.by_agreement[agreement])}
            for agreement, rows in sorted(tally.agreements.items(), reverse=True)
        ],
        "words_a_rationale": _quantiles(tally.words),
        "to_read": {
            stratum: [asdict(reading) for reading in readings]
            for stratum, readings in sorted(tally.readings.items())
        },
    }
    (out.with_suffix(".report.json")).write_text(
        json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    path = out.with_suffix(".report.md")
    path.write_text(_template().render(report=content, samples=tally.samples), encoding="utf-8")
    return path


def _right(right: Right) -> dict[str, Any] | None:
    if not right.rows:
        return None
    low, high = right.interval
    return {
        "right": right.right,
        "rows": right.rows,
        "share": round(right.share, 4),
        "low": round(low, 4),
        "high": round(high, 4),
    }


def _quantiles(words: list[int]) -> dict[str, int]:
    if not words:
        return {}
    values = np.percentile(words, QUANTILES, method="inverted_cdf")
    return {f"{q} %": int(value) for q, value in zip(QUANTILES, values, strict=True)}


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": as_plain, "fenced": as_fenced, "percent": _percent}
    environment.globals["table"] = _table
    text = files("training.annotation").joinpath("report.md.jinja").read_text(encoding="utf-8")
    return environment.from_string(text)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _table(head: list[str], rows: list[list[Any]]) -> str:
    shown = (["–" if cell is None else as_plain(str(cell)) for cell in row] for row in rows)
    return table(head, shown)
