"""The gate: a new model must not be significantly worse than the model in use.

It compares what both models said about the same labelled rows.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.task import Task
from training.evaluation.calibration import brier, confidence_and_right
from training.evaluation.comparison import compare, mcnemar
from training.evaluation.estimate import mean_estimate
from training.evaluation.health import FAULTS, health_shares, measure_health
from training.evaluation.predictions import Run
from training.evaluation.record import Record
from training.evaluation.significance import Array

SIGNIFICANT = 0.05  # p-values below it are significant; the intervals are of 95 %
WANTED_ROWS = 200  # a comparison on fewer rows shows little
UNSEEN = 5  # rows that only one model has right, with p still above 0.05: 2 / 2^5
SAME = ("name", "fields", "labels", "answer")  # what the tasks of two compared models must share

FIGURES = (
    "accuracy {accuracy:.1%} against {old_accuracy:.1%} ({points[0]:+.1f} points, 95 % interval "
    "{points[1]:+.1f} to {points[2]:+.1f}, p = {p:.2g}), "
    "Brier score {brier:.4f} against {old_brier:.4f} ({brier_difference:+.4f}, 95 % interval "
    "{brier_low:+.4f} to {brier_high:+.4f}), "
    "with the share of wrong labels {score:.4f} against {old_score:.4f} "
    "({score_difference:+.4f}, {score_low:+.4f} to {score_high:+.4f}), on {rows} rows"
)

Measured = dict[str, float | int | str]

log = logging.getLogger("duet.evaluation")


class GateError(ValueError):
    """Two evaluations cannot be compared by the gate. The message says why."""


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation: its run, the model's task, and the records."""

    run: Run
    task: Task
    records: Sequence[Record]


@dataclass(frozen=True)
class Decision:
    """Whether a model may replace another one: not if it is `worse` in anything."""

    worse: list[str]
    measured: Measured
    figures: str

    @property
    def admitted(self) -> bool:
        return not self.worse

    @property
    def sentence(self) -> str:
        if self.admitted:
            return f"not significantly worse: {self.figures}"
        return f"significantly worse in {' and in '.join(self.worse)}: {self.figures}"


@dataclass(frozen=True)
class Verdict:
    """What `verdict.json` holds, and what `export.admit` writes into the new bundle.

    `new`, `old` and `data` describe the bundles and the rows, as in the evaluations' `run.json`.
    """

    admitted: bool
    sentence: str
    new: dict[str, str]
    old: dict[str, str]
    data: dict[str, str]
    measured: Measured


def hold_against(new: Evaluated, old: Evaluated) -> Verdict:
    """The verdict on whether the bundle `new` may replace `old`.

    Raises GateError where the tasks differ, where a model was no bundle, or where there is only one
    row. Raises DifferentRowsError where the rows differ.
    """
    for letter, one in (("A", new), ("B", old)):
        if "checksum" not in one.run["model"]:
            raise GateError(
                f"--gate: {letter} is the evaluation of {one.run['model']['source']}, which is no "
                "bundle; evaluate a bundle's folder, or a service"
            )
    ours, theirs = new.task.model_dump(), old.task.model_dump()
    for name in SAME:
        if ours[name] != theirs[name]:
            raise GateError(
                f"--gate: A and B are of different tasks, so they cannot be compared: task.{name} "
                f"is {ours[name]!r} in A, but {theirs[name]!r} in B"
            )
    if len(new.records) < 2:
        raise GateError(f"--gate: one row is not enough; give at least {WANTED_ROWS}")
    decision = decide(new.records, old.records, new.task)
    return Verdict(
        decision.admitted,
        decision.sentence,
        new.run["model"],
        old.run["model"],
        new.run["data"],
        decision.measured,
    )


def decide(new: Sequence[Record], old: Sequence[Record], task: Task) -> Decision:
    """The decision on two models' records of the same N >= 2 rows (`rows` in `measured`).

    `measured` has these figures of the new model, and those of the old one as `old_…`:

    - `accuracy` is the share of right labels. `p` is McNemar's.
    - `brier` is the mean squared error of the confidence as the probability of being right (Brier,
      1950). Lower is better, but it is also low where few labels are right.
    - `score` is `brier` plus the share of wrong labels. That is Brier's own score, summed over all
      labels, if infinitely many labels share the rest of the probability.
    - `healthy` and each fault of `Health` are shares of rationales, where both models explain.
      `healthy_p` is McNemar's.

    The first three also have `…_difference`, new less old. Its 95 % interval, by the paired
    bootstrap, goes from `…_low` to `…_high`.

    The new model is worse where labels are right, or rationales are healthy, less often with
    p < 0.05. It is worse in calibration where the intervals of the differences of `brier` and of
    `score` are both wholly above 0: no gain in accuracy makes up for that. Raises
    DifferentRowsError where the rows differ.
    """
    found = compare(new, old)
    ours, theirs = _columns(new), _columns(old)
    measured: Measured = {"rows": found.rows, "p": found.mcnemar}
    for name, column in ours.items():
        difference = mean_estimate(new, column - theirs[name])
        assert difference.value is not None
        assert difference.low is not None
        assert difference.high is not None
        measured |= {
            name: float(column.mean()),
            f"old_{name}": float(theirs[name].mean()),
            f"{name}_difference": difference.value,
            f"{name}_low": difference.low,
            f"{name}_high": difference.high,
        }
    points = [100 * float(measured[f"accuracy_{name}"]) for name in ("difference", "low", "high")]
    figures = FIGURES.format(**measured, points=points)
    health = _health(new, old, task)
    if health:
        measured |= health
        figures += _health_figures(health)
    worse = []
    if found.mcnemar < SIGNIFICANT and found.only_a_right < found.only_b_right:
        worse.append("label accuracy")
    if min(float(measured["brier_low"]), float(measured["score_low"])) > 0:
        worse.append("calibration")
    if health and health["healthy_p"] < SIGNIFICANT and health["healthy"] < health["old_healthy"]:
        worse.append("rationale health")
    if not worse:
        log.info("gate: %s", figures)
        if found.rows < WANTED_ROWS:
            log.warning(
                "warning: %d rows are few: a loss of %.1f points of accuracy would pass; a "
                "gate should have at least %d",
                found.rows,
                100 * min(1, UNSEEN / found.rows),
                WANTED_ROWS,
            )
    return Decision(worse, measured, figures)


def _health(new: Sequence[Record], old: Sequence[Record], task: Task) -> dict[str, float]:
    """The `health_shares` of the rows that both models explain; empty where there are none."""
    pairs = [
        (ours, theirs)
        for ours, theirs in zip(measure_health(new, task), measure_health(old, task), strict=True)
        if ours is not None and theirs is not None
    ]
    if not pairs:
        return {}
    ours, theirs = zip(*pairs, strict=True)
    only_ours = sum(a.healthy and not b.healthy for a, b in pairs)
    only_theirs = sum(b.healthy and not a.healthy for a, b in pairs)
    before = {f"old_{name}": share for name, share in health_shares(theirs).items()}
    return {**health_shares(ours), **before, "healthy_p": mcnemar(only_ours, only_theirs)}


def _health_figures(health: dict[str, float]) -> str:
    """The shares of healthy rationales, and of the faults that are more frequent than before."""
    text = (
        f"; healthy rationales {health['healthy']:.1%} against {health['old_healthy']:.1%} "
        f"(p = {health['healthy_p']:.2g})"
    )
    more = [
        f"{title}, {health[name]:.1%} against {health[f'old_{name}']:.1%}"
        for name, title in FAULTS.items()
        if health[name] > health[f"old_{name}"]
    ]
    return f"{text}; more faults: {'; '.join(more)}" if more else text


def _columns(records: Sequence[Record]) -> dict[str, Array]:
    """The values [N] of the rows, by the figure that is their mean."""
    confidence, right = confidence_and_right(records)
    squares = brier(confidence, right)
    return {"accuracy": right, "brier": squares, "score": squares + 1 - right}
