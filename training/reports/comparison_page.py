"""The page of a comparison of two evaluations."""

from collections.abc import Sequence

from training.evaluation.cases import Case
from training.evaluation.comparison import Comparison
from training.evaluation.evaluation import Evaluation
from training.evaluation.predictions import Run
from training.reports.evaluation_page import calibration_table, warnings_of
from training.reports.page import (
    A_TENTH,
    NONE,
    Curves,
    Diagram,
    Headline,
    Page,
    Section,
    Table,
    bounds,
    by_kind,
    counted,
    form,
    interval,
    name_of,
    p_equals,
    p_value,
    percent,
    points,
    points_bounds,
    shows,
)
from training.reports.rationales_page import rationale_tables

LEVEL = 0.05  # of significance
ALIKE = 0.0005  # a difference of ECE that three decimals do not show


def comparison_page(
    found: Comparison,
    a: tuple[Run, Evaluation],
    b: tuple[Run, Evaluation],
    cases: Sequence[Case],
    reproduce: Table,
) -> Page:
    """The page of A and B, each with its evaluation on the same rows."""
    own = [name_of(run) for run, _ in (a, b)]
    if own[0] == own[1]:
        own = [run["model"]["source"] for run, _ in (a, b)]
    names = [f"{letter}: {name}" for letter, name in zip("AB", own, strict=True)]
    evaluations = dict(zip(names, (a[1], b[1]), strict=True))
    return Page(
        kind="Comparison",
        stem="comparison",
        title=" against ".join(names),
        headline=_headline(found),
        verdict=_verdict(found),
        limits=[*warnings_of(a[0], b[0]), *_limits(found, evaluations)],
        sections=[
            _difference(found),
            _accuracy(found, evaluations),
            Section(
                "Calibration",
                tables=[
                    calibration_table({name: one.calibration for name, one in evaluations.items()})
                ],
                diagrams=[Diagram(name, one.calibration.bins) for name, one in evaluations.items()],
                curves=Curves(
                    {name: one.calibration.selective.curve for name, one in evaluations.items()}
                ),
            ),
            *_rationales(evaluations),
        ],
        names=names,
        cases=by_kind(cases),
        reproduce=reproduce,
    )


def _headline(found: Comparison) -> Headline:
    gap = found.accuracy
    if gap.value is None or gap.low is None or gap.high is None:
        return Headline("Too few rows", "to tell the models apart", "words")
    figure = f"{points(gap.value, '+')} points"
    if not _differ(found):
        note = f"in accuracy: {figure}, A less B"
        return Headline("No significant difference", note, "words")
    if gap.value > 0:
        return Headline(figure, "of accuracy: A is right more often than B", "better")
    return Headline(figure, "of accuracy: A is right less often than B", "worse")


def _differ(found: Comparison) -> bool:
    """Whether these rows show that one model is right more often."""
    return found.sign_flip < LEVEL and shows(found.accuracy, A_TENTH)


def _verdict(found: Comparison) -> list[str]:
    if found.same_label == found.rows:
        rows = "the only row" if found.rows == 1 else f"each of the {found.rows} rows"
        lines = [f"A and B give the same label on {rows}."]
    else:
        lines = [_accuracy_verdict(found)]
    ece = found.ece
    if ece.value is None:
        return lines
    if ece.low is None or ece.high is None:
        lines.append("These rows cannot show whether one is better calibrated.")
        return lines
    figures = f"A's ECE less B's is {form('+3', ece.value)}"
    if ece.low < ece.high:
        figures += f" (95 % interval {' to '.join(bounds(ece.low, ece.high, '+3'))})"
    if not shows(ece, ALIKE):
        return [*lines, f"These rows do not show that one is better calibrated: {figures}."]
    return [*lines, f"{'A' if ece.value < 0 else 'B'} is better calibrated: {figures}."]


def _accuracy_verdict(found: Comparison) -> str:
    gap = found.accuracy
    if gap.value is None or gap.low is None or gap.high is None:
        return "There are no rows to tell the models apart."
    low, high = points_bounds(gap.low, gap.high, "+")
    figures = (
        f"the difference of A less B is {points(gap.value, '+')} points of accuracy (95 % interval "
        f"{low} to {high}; {p_equals(found.sign_flip)})."
    )
    if not _differ(found):
        rows = "This row does" if found.rows == 1 else f"These {found.rows} rows do"
        return f"{rows} not show that one model is right more often: {figures}"
    better, other = ("A", "B") if gap.value > 0 else ("B", "A")
    return f"{better} is right more often than {other} on {counted(found.rows)}: {figures}"


def _limits(found: Comparison, evaluations: dict[str, Evaluation]) -> list[str]:
    lines = [
        "A difference that is not shown may still exist. The interval has the differences that fit "
        "these rows.",
        "The figures are of these two models and these rows. Students with other seeds, and rows "
        "of another kind, may differ in another way.",
    ]
    if found.clusters < found.rows:
        lines.append(
            f"The rows form {found.clusters} groups that are not independent. The intervals and "
            "the sign-flip test count groups; McNemar's test counts rows."
        )
    for name, one in evaluations.items():
        if one.accuracy.truncated:
            lines.append(
                f"{one.accuracy.truncated} of the rows were too long for {name} and lost their "
                f"end. It is right on {one.accuracy.truncated_right} of them."
            )
    return lines


def _difference(found: Comparison) -> Section:
    return Section(
        "Difference",
        tables=[
            Table(
                ("A less B, on the same rows", "difference", "95 % interval, paired"),
                [
                    (
                        "right, points",
                        NONE if found.accuracy.value is None else points(found.accuracy.value, "+"),
                        _points_interval(found),
                    ),
                    ("ECE", form("+3", found.ece.value), interval(found.ece, "+3")),
                    ("Brier score", form("+3", found.brier.value), interval(found.brier, "+3")),
                ],
            ),
            Table(
                ("of being right equally often", "p"),
                [
                    ("sign-flip test, by groups of rows", p_value(found.sign_flip)),
                    ("McNemar's exact test, by rows", p_value(found.mcnemar)),
                ],
            ),
            Table(
                ("rows", "count"),
                [
                    ("both right", str(found.both_right)),
                    ("only A right", str(found.only_a_right)),
                    ("only B right", str(found.only_b_right)),
                    ("neither", str(found.neither_right)),
                    ("the same label", str(found.same_label)),
                ],
            ),
        ],
    )


def _points_interval(found: Comparison) -> str:
    low, high = found.accuracy.low, found.accuracy.high
    if low is None or high is None:
        return NONE
    return " … ".join(points_bounds(low, high, "+"))


def _accuracy(found: Comparison, evaluations: dict[str, Evaluation]) -> Section:
    return Section(
        "Accuracy",
        tables=[
            Table(
                (counted(found.rows), "right", "95 % interval", "the very text", "95 % interval"),
                [
                    (
                        name,
                        percent(one.accuracy.right.value),
                        interval(one.accuracy.right),
                        percent(one.accuracy.exact.value),
                        interval(one.accuracy.exact),
                    )
                    for name, one in evaluations.items()
                ],
            )
        ],
    )


def _rationales(evaluations: dict[str, Evaluation]) -> list[Section]:
    explaining = {
        name: one.rationales for name, one in evaluations.items() if one.rationales.health
    }
    return [Section("Rationales", tables=rationale_tables(explaining))] if explaining else []
