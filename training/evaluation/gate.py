"""The gate: a new model must not be significantly worse than the model in use.

It compares what both models said about the same labelled rows.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from tasks.durable_files import replace_text
from tasks.task import Task
from training.evaluation.calibration import brier, confidence_and_right
from training.evaluation.comparison import compare, mcnemar
from training.evaluation.estimate import mean_estimate
from training.evaluation.health import FAULTS, health_shares, measure_health
from training.evaluation.predictions import Run
from training.evaluation.record import Record
from training.evaluation.significance import Array, clustered, sign_flip_test

SIGNIFICANT = 0.05  # p-values below it are significant; the intervals are of 95 %
# The smallest differences that matter. A smaller loss does not refuse a model, however sure it is.
SHARE_THAT_MATTERS = 0.005  # of right labels, and of healthy rationales
BRIER_THAT_MATTERS = 0.05**2  # what it costs to be 5 points too sure, or too unsure, on every row
WANTED_ROWS = 200  # a comparison on fewer rows shows little
UNSEEN = 5  # rows that only one model has right, with p still above 0.05: 2 / 2^5
SAME = ("name", "fields", "labels", "answer")  # what the tasks of two compared models must share

FIGURES = (
    "accuracy {accuracy:.1%} against {old_accuracy:.1%} ({points[0]:+.1f} points, 95 % interval "
    "{points[1]:+.1f} to {points[2]:+.1f}, p = {p:.2g}), "
    "Brier score {brier:.4f} against {old_brier:.4f} ({brier_difference:+.2g}, 95 % interval "
    "{brier_low:+.2g} to {brier_high:+.2g}), on {rows} rows"
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
class Loss:
    """What a model is significantly worse in, and by how much: "0.32 higher".

    It `matters` if it is not smaller than the smallest difference that matters.
    """

    name: str
    size: str
    matters: bool

    def __str__(self) -> str:
        return f"in {self.name} ({self.size})"


@dataclass(frozen=True)
class Decision:
    """Whether a model may replace another one: not if one of the significant `losses` matters."""

    losses: list[Loss]
    measured: Measured
    figures: str

    @property
    def admitted(self) -> bool:
        return not any(loss.matters for loss in self.losses)

    @property
    def finding(self) -> str:
        if not self.losses:
            return f"not significantly worse{self._gain}"
        if self.admitted:
            return f"worse {_listed(self.losses)}, but by less than matters"
        return f"significantly worse {_listed([loss for loss in self.losses if loss.matters])}"

    @property
    def _gain(self) -> str:
        gained = float(self.measured["accuracy_difference"])
        if gained <= 0 or float(self.measured["p"]) >= SIGNIFICANT:
            return ""
        return f", and better in label accuracy ({_points(gained)} higher)"

    @property
    def sentence(self) -> str:
        return f"{self.finding}: {self.figures}"


@dataclass(frozen=True)
class Verdict:
    """What `verdict.json` holds, and what `export.admit` writes into the new bundle.

    `new`, `old` and `data` describe the bundles and the rows, as in the evaluations' `run.json`.
    """

    admitted: bool
    finding: str  # the begin of the sentence, without the figures
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
    if len({record.cluster for record in new.records}) < 2:
        raise GateError(
            f"--gate: one row, or one group of rows, is not enough; give at least {WANTED_ROWS}"
        )
    decision = decide(new.records, old.records, new.task)
    return Verdict(
        decision.admitted,
        decision.finding,
        decision.sentence,
        new.run["model"],
        old.run["model"],
        new.run["data"],
        decision.measured,
    )


def decide(new: Sequence[Record], old: Sequence[Record], task: Task) -> Decision:
    """The decision on two models' records of the same N rows, in two clusters or more.

    `measured` has these figures of the new model, and those of the old one as `old_…`:

    - `accuracy` is the share of right labels. `p` is McNemar's.
    - `brier` is the mean squared error of the confidence as the probability of being right (Brier,
      1950). Lower is better, but it is also low where few labels are right.
    - `score` is `brier` plus the share of wrong labels. That is Brier's own score, summed over all
      labels, if infinitely many labels share the rest of the probability.
    - `healthy` and each fault of `Health` are shares of rationales, where both models explain.
      `healthy_p` is McNemar's.

    The first three also have `…_difference`, new less old. Its 95 % interval (see `mean_estimate`)
    goes from `…_low` to `…_high`.

    A loss is significant where labels are right, or rationales are healthy, less often with
    p < 0.05. It is significant in calibration where the differences of `brier` and of `score` are
    both wholly above 0 by their intervals, and p < 0.05 by the sign-flip test: no gain in accuracy
    makes up for that. The test is there for few rows, where the bootstrap's intervals are too
    narrow. A loss matters from SHARE_THAT_MATTERS or BRIER_THAT_MATTERS on. A new model that does
    not explain never replaces one that does. Raises DifferentRowsError where the rows differ.
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
    losses = []
    lost = (found.only_b_right - found.only_a_right) / found.rows
    if found.mcnemar < SIGNIFICANT and lost > 0:
        losses.append(_lost_share("label accuracy", lost))
    if (cost := _lost_calibration(new, measured, ours, theirs)) is not None:
        losses.append(cost)
    if not _explains(new) and _explains(old):
        losses.append(Loss("rationales", "there are none any more", matters=True))
    if health and health["healthy_p"] < SIGNIFICANT and health["healthy"] < health["old_healthy"]:
        losses.append(_lost_share("rationale health", health["old_healthy"] - health["healthy"]))
    decision = Decision(losses, measured, figures)
    if decision.admitted:
        log.info("gate: %s", decision.sentence)
        if found.rows < WANTED_ROWS:
            log.warning(
                "warning: %d rows are few: a loss of %.1f points of accuracy would pass; a "
                "gate should have at least %d",
                found.rows,
                100 * min(1, UNSEEN / found.rows),
                WANTED_ROWS,
            )
    return decision


def _points(share: float) -> str:
    return f"{100 * share:.3g} points"


def _explains(records: Sequence[Record]) -> bool:
    return any(record.rationale is not None for record in records)


def _lost_share(name: str, lost: float) -> Loss:
    return Loss(name, f"{_points(lost)} lower", lost >= SHARE_THAT_MATTERS)


def _lost_calibration(
    records: Sequence[Record],
    measured: Measured,
    ours: dict[str, Array],
    theirs: dict[str, Array],
) -> Loss | None:
    for name in ("brier", "score"):
        sums, _ = clustered(
            zip([one.cluster for one in records], ours[name] - theirs[name], strict=True)
        )
        if float(measured[f"{name}_low"]) <= 0 or sign_flip_test(sums) >= SIGNIFICANT:
            return None
    rise = float(measured["brier_difference"])
    matters = min(rise, float(measured["score_difference"])) >= BRIER_THAT_MATTERS
    return Loss("calibration", f"Brier score {rise:.2g} higher", matters)


def _listed(losses: Sequence[Loss]) -> str:
    return " and ".join(map(str, losses))


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


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Writes the verdict as JSON, whole or not at all."""
    replace_text(path, TypeAdapter(Verdict).dump_json(verdict, indent=2).decode() + "\n")
