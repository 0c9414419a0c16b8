"""The page of one evaluation."""

from training.evaluation.calibration import MeasuredCalibration
from training.evaluation.estimate import Estimate
from training.evaluation.evaluation import Evaluation
from training.evaluation.labelled import WARNING
from training.evaluation.predictions import Run
from training.reports.page import (
    A_TENTH,
    Curves,
    Diagram,
    Headline,
    Matrix,
    Page,
    Section,
    Table,
    by_kind,
    counted,
    form,
    interval,
    interval_text,
    name_of,
    percent,
    points,
    points_bounds,
    shows,
)
from training.reports.rationales_page import health_verdict, rationales_section

MOST_LABELS = 20  # in a table; the JSON has all


def evaluation_page(run: Run, found: Evaluation, reproduce: Table) -> Page:
    name = name_of(run)
    return Page(
        kind="Evaluation",
        stem="report",
        title=f"{name} on {run['data']['source']}",
        headline=Headline(
            percent(found.accuracy.right.value),
            f"right, of {counted(found.accuracy.rows)}",
            "figure",
        ),
        verdict=_verdict(found),
        limits=[*warnings_of(run), *_limits(found)],
        sections=[_accuracy(found), _calibration(found), *_rationales(found)],
        names=[name],
        cases=by_kind(found.cases),
        reproduce=reproduce,
    )


def warnings_of(*runs: Run) -> list[str]:
    """A sentence of each run's rows that are training rows, too; none twice."""
    found = dict.fromkeys(run["data"].get(WARNING) for run in runs)
    return [f"{warning}." for warning in found if warning]


def _verdict(found: Evaluation) -> list[str]:
    accuracy = found.accuracy
    lines = [
        f"The model is right on {percent(accuracy.right.value)} of {counted(accuracy.rows)}"
        f"{interval_text(accuracy.right)}."
    ]
    if accuracy.classes is not None:
        most = max(accuracy.classes.scores, key=lambda score: score.support)
        lines.append(
            f"Always answering “{most.label}” would be right on "
            f"{percent(most.support / accuracy.rows)}."
        )
    lines.append(_confidence_verdict(found.overconfidence, found.calibration.confidence))
    if found.temperature is not None and found.temperature.problem is not None:
        lines.append(f"Its confidence is not calibrated: {found.temperature.problem}.")
    if healthy := found.rationales.health:
        lines.append(health_verdict(healthy))
    else:
        lines.append("It gives labels only, and no rationales.")
    return lines


def _confidence_verdict(gap: Estimate, mean: float) -> str:
    confidence = percent(mean)
    if gap.value is None or gap.low is None or gap.high is None:
        return (
            f"Its mean confidence is {confidence}. There are too few rows to tell whether that is "
            "too high or too low."
        )
    if not shows(gap, A_TENTH):
        low, high = points_bounds(gap.low, gap.high)
        return (
            f"Its mean confidence is {confidence}. These rows do not show that it is too high or "
            f"too low (a gap of {points(gap.value)} points, 95 % interval {low} to {high})."
        )
    kind, side = ("overconfident", "high") if gap.low > 0 else ("underconfident", "low")
    nearer, further = sorted((abs(gap.low), abs(gap.high)))
    low, high = points_bounds(nearer, further)
    return (
        f"It is {kind}: its mean confidence is {confidence}, {points(abs(gap.value))} points too "
        f"{side} (95 % interval {low} to {high})."
    )


def _limits(found: Evaluation) -> list[str]:
    accuracy = found.accuracy
    lines = [
        "The interval is for this model on other rows of the same kind. It does not cover rows of "
        "another kind, or a student with another seed."
    ]
    if accuracy.clusters < accuracy.rows:
        lines.append(
            f"The rows form {accuracy.clusters} groups of variants. The intervals count groups, "
            "not rows."
        )
    if accuracy.truncated:
        lines.append(
            f"{accuracy.truncated} of the {accuracy.rows} rows were too long for the model and "
            f"lost their end. It is right on {accuracy.truncated_right} of them."
        )
    lines.append(
        "Do not compare two models by their intervals. Evaluate both on the same rows, and compare "
        "the evaluations (--compare)."
    )
    if found.rationales.health:
        lines.append(
            "Rationales are measured by rules on their words. Whether a rationale is how the model "
            "found its label is not measured."
        )
    return lines


def _rationales(found: Evaluation) -> list[Section]:
    return [rationales_section(found.rationales)] if found.rationales.health else []


def _accuracy(found: Evaluation) -> Section:
    accuracy = found.accuracy
    tables = [
        Table(
            ("of all rows", "share", "95 % interval"),
            [
                (
                    "right, as the task judges",
                    percent(accuracy.right.value),
                    interval(accuracy.right),
                ),
                (
                    "the very text of the gold label",
                    percent(accuracy.exact.value),
                    interval(accuracy.exact),
                ),
            ],
        )
    ]
    notes = []
    matrix = None
    if (classes := accuracy.classes) is not None:
        most = sorted(range(len(classes.scores)), key=lambda place: -classes.scores[place].support)[
            :MOST_LABELS
        ]
        places = sorted(most)
        if len(places) < len(classes.scores):
            notes.append(
                f"The {len(places)} most frequent of {len(classes.scores)} labels; report.json has "
                "all."
            )
        scores = [classes.scores[place] for place in places]
        rows = [
            (
                score.label,
                percent(score.precision),
                percent(score.recall),
                percent(score.f1),
                str(score.support),
                str(score.predicted),
            )
            for score in scores
        ]
        head = ("label", "precision", "recall", "F1", "gold rows", "predicted")
        tables.append(Table(head, [*rows, ("macro F1", "", "", percent(classes.macro_f1), "", "")]))
        matrix = Matrix(
            [score.label for score in scores],
            [[classes.confusion[row][column] for column in places] for row in places],
        )
    return Section("Accuracy", notes, tables, matrix=matrix)


def _calibration(found: Evaluation) -> Section:
    columns = {"as it answers": found.calibration}
    diagrams = [Diagram("As it answers", found.calibration.bins)]
    curves = Curves({"": found.calibration.selective.curve})
    notes = []
    if (fitted := found.temperature) is not None:
        if fitted.problem is not None:
            notes.append(f"No temperature was fitted: {fitted.problem}.")
        else:
            offset = "" if fitted.offset is None else f" and an offset of {fitted.offset:.3f}"
            were = "was" if fitted.offset is None else "were"
            notes.append(
                f"A temperature of {fitted.temperature:.3f}{offset} {were} fitted on "
                f"{fitted.rows} validation rows."
            )
            if found.calibrated is not None:
                columns["with the temperature"] = found.calibrated
                diagrams.append(Diagram("With the temperature", found.calibrated.bins))
            elif fitted.after is not None:
                columns["with the temperature, on the rows of its fit"] = fitted.after
                notes.append("It was fitted on these rows, so it looks better here than it is.")
    return Section("Calibration", notes, [calibration_table(columns)], diagrams, curves)


def calibration_table(columns: dict[str, MeasuredCalibration]) -> Table:
    def row(name: str, kind: str, attribute: str, part: str = "") -> tuple[str, ...]:
        cells = []
        for calibration in columns.values():
            owner = getattr(calibration, part) if part else calibration
            cells.append(form(kind, None if owner is None else getattr(owner, attribute)))
        return (name, *cells)

    rows = [
        row("mean confidence", "%", "confidence"),
        row("right", "%", "accuracy"),
        row("ECE, 15 bins of equal width", "3", "ece"),
        row("ECE, 15 bins of equal mass", "3", "ece_equal_mass"),
        row("ECE, monotonic sweep", "3", "ece_sweep"),
        row("Brier score of being right", "3", "brier"),
        row("NLL of being right, nats", "3", "nll"),
    ]
    if any(calibration.probabilities is not None for calibration in columns.values()):
        rows += [
            row("Brier score of the labels", "3", "brier", "probabilities"),
            row("NLL of the gold label, nats", "3", "nll", "probabilities"),
            row("adaptive calibration error of the labels", "3", "ace", "probabilities"),
        ]
    rows += [
        row("AUROC of being right", "3", "auroc", "selective"),
        row("area under the risk-coverage curve", "3", "aurc", "selective"),
        row("right among the surest 80 %", "%", "accuracy_at_80", "selective"),
    ]
    return Table(("all rows", *columns), rows)
