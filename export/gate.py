"""The gate before a student that is in use: its successor must not be significantly worse.

Both bundles are served, as they will be, and asked about the same labelled rows.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from export import verify
from export.bundle import Manifest
from tasks.task import Task
from training.data.row import DataError
from training.evaluation.calibration import brier, confidence_and_right
from training.evaluation.collect import collect
from training.evaluation.comparison import compare, mcnemar
from training.evaluation.estimate import mean_estimate
from training.evaluation.health import FAULTS, health_shares, measure_health
from training.evaluation.labelled import Data, from_file
from training.evaluation.model import ModelError
from training.evaluation.predictions import read_predictions
from training.evaluation.record import Record
from training.evaluation.served import served
from training.evaluation.significance import Array

SIGNIFICANT = 0.05  # p-values below it, beside which stand intervals of 95 %
WANTED_ROWS = 200  # fewer tell little
UNSEEN = 5  # rows that one alone is right on and p is not below 0.05: 2 / 2^5

FIGURES = (
    "accuracy {accuracy:.1%} against {old_accuracy:.1%} ({points[0]:+.1f} points, 95 % interval "
    "{points[1]:+.1f} to {points[2]:+.1f}, p = {p:.2g}), "
    "Brier score {brier:.4f} against {old_brier:.4f} ({brier_difference:+.4f}, 95 % interval "
    "{brier_low:+.4f} to {brier_high:+.4f}), "
    "with the share of wrong labels {score:.4f} against {old_score:.4f} "
    "({score_difference:+.4f}, {score_low:+.4f} to {score_high:+.4f}), on {rows} rows"
)

Measured = dict[str, float | int | str]

log = logging.getLogger("duet.export")


class GateError(Exception):
    """Two bundles cannot be compared. The message says why."""


class WorseError(Exception):
    """A student is significantly worse than the one it is to replace. The message has the figures.

    `measured` is what `judge` gives for one that is not.
    """

    def __init__(self, message: str, measured: Measured) -> None:
        super().__init__(message)
        self.measured = measured


@dataclass(frozen=True)
class Gate:
    """The bundle `old`, and the rows that a new one is held against it on."""

    old: Path
    manifest: Manifest
    data: Data
    task: Task

    @classmethod
    def open(cls, old: Path, rows: Path, task: Task) -> Self:
        """Looks at all that a comparison needs, but for the new student, whose task is `task`.

        `rows` is a file that `training/evaluate.py --data` takes. Raises BundleError, and GateError
        where the bundle has another task or the rows are none of this one.
        """
        manifest = verify.read(old).manifest
        ours, theirs = task.model_dump(), manifest.task.model_dump()
        for name in ("name", "fields", "labels", "answer"):
            if ours[name] != theirs[name]:
                raise GateError(
                    f"--gate-against {old}: a bundle of another task, so the two cannot be "
                    f"compared: its {name} is {theirs[name]!r}, the new student's {ours[name]!r}"
                )
        try:
            data = from_file(rows, task)
        except (DataError, OSError) as error:
            raise GateError(f"--data {error}") from error
        if data.count < 2:
            raise GateError(f"--data {rows}: one row tells nothing; give at least {WANTED_ROWS}")
        return cls(old, manifest, data, task)

    def admit(self, new: Path) -> Measured:
        """What was measured of the bundle `new`, which may replace the old one.

        Raises WorseError, and GateError where one of them does not answer.
        """
        with TemporaryDirectory(prefix="duet-gate-") as temporary:
            measured = judge(
                self._records(new, Path(temporary, "new")),
                self._records(self.old, Path(temporary, "old")),
                self.task,
            )
        return measured | {
            "against": f"{self.manifest.name}, version {self.manifest.version}",
            "against_checksum": self.manifest.checksum,
            "data": Path(self.data.source).name,
            "data_sha256": self.data.fingerprint,
        }

    def _records(self, folder: Path, out: Path) -> list[Record]:
        log.info("asking %s about %d rows, for the gate", folder, self.data.count)
        out.mkdir()
        try:
            with served(folder, out / "service.log") as model:
                collect(model, self.data, out, source=str(folder))
        except (ModelError, DataError) as error:
            raise GateError(f"the gate cannot ask both bundles: {error}") from error
        return [*read_predictions(out)]


def judge(new: Sequence[Record], old: Sequence[Record], task: Task) -> Measured:
    """What two students' records of N >= 2 rows come to, N being `rows`.

    `accuracy` is the share of right labels, and `p` McNemar's. `brier` is the mean squared error of
    the confidence as the probability of being right (Brier, 1950): lower is better, but where few
    labels are right it is low with ease. So `score` adds the share of wrong ones: it is Brier's own
    score, summed over all labels, where infinitely many share what the given one leaves. Of each
    there is the new student's, `old_…`, and `…_difference`, new less old, with its 95 % interval
    by the paired bootstrap, `…_low` to `…_high`. Where both explain, `healthy` and each fault of
    `Health` are shares of rationales, with `old_…`, and `healthy_p` is McNemar's.

    Raises WorseError where labels are right, or rationales are healthy, less often with p < 0.05,
    or where the intervals of the differences of `brier` and of `score` are both wholly above 0: a
    calibration that is worse, and that no gain in accuracy makes up for. DifferentRowsError where
    the rows are not the same.
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
    if worse:
        raise WorseError(f"significantly worse in {' and in '.join(worse)}: {figures}", measured)
    log.info("gate: %s", figures)
    if found.rows < WANTED_ROWS:
        log.warning(
            "warning: %d rows tell little: a loss of %.1f points of accuracy would pass; a gate "
            "should have at least %d",
            found.rows,
            100 * min(1, UNSEEN / found.rows),
            WANTED_ROWS,
        )
    return measured


def _health(new: Sequence[Record], old: Sequence[Record], task: Task) -> dict[str, float]:
    """The shares of `health_shares`, of rows that both explain; empty where there are none."""
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
    """The shares of healthy rationales, and of the faults that there are more of than before."""
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
    """What each row [N] adds to the means."""
    confidence, right = confidence_and_right(records)
    squares = brier(confidence, right)
    return {"accuracy": right, "brier": squares, "score": squares + 1 - right}
