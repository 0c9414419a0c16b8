"""What the cards of students and bundles have in common."""

from tasks.builtin import TASKS
from tests.support.student_records import a_record
from training.student.files import FAULTS, Metrics
from training.student.model_card import render_card


def card_of(metrics: Metrics, task: str = "svamp") -> str:
    record = a_record().model_copy(update={"metrics": metrics, "task": TASKS[task]})
    return render_card(
        "training.run",
        record=record,
        task=record.task,
        metrics=record.metrics,
        parameters=1_234_567,
        steps=[3],
    )


def test_a_measure_is_explained_where_it_was_taken() -> None:
    plain = card_of({"validation": {"accuracy": 0.5, "rows": 4}}, task="esnli")
    assert "| validation | accuracy 0.5, rows 4 |" in plain
    assert "`accuracy` is the share of rows with the right label.\n" in plain
    for word in ("Wilson", "mi_bound", "`exact`", "### Rationales", "{%"):
        assert word not in plain
    full = card_of({"test": {"accuracy": 0.5, "low": 0.1, "high": 0.9, "exact": 0, "mi_bound": 1}})
    assert "with the right label: an equation with the right value.\n" in full
    for word in ("from `low` to `high`", "`mi_bound` is a lower bound", "`exact` is the share"):
        assert word in full


def test_every_fault_of_rationales_has_a_row() -> None:
    shares = {name: place / 100 for place, name in enumerate(FAULTS)}
    rationales: dict[str, float | int | str] = {"rows": 40, "healthy": 0.9, **shares}
    text = card_of({"validation": {"accuracy": 0.5}, "rationales": rationales})
    assert "Of 40 rationales on validation rows:" in text
    assert "| healthy: none of the faults below | 90.0 % |" in text
    for place, title in enumerate(FAULTS.values()):
        assert f"| {title} | {place}.0 % |" in text
    assert "word for word" not in text
    assert "| rationales |" not in text


def test_a_card_says_nothing_of_where_the_rationales_come_from() -> None:
    """They may be a model's, or people's own."""
    shares: dict[str, float | int | str] = {"rows": 4, "healthy": 1.0, "reference": 1.0}
    shares |= dict.fromkeys(FAULTS, 0.0)
    text = card_of({"validation": {"accuracy": 0.5}, "rationales": shares})
    assert "It learnt from the labels and the\nrationales of its training rows." in text
    assert "| the row's own rationale, word for word | 100.0 % |" in text
    assert "teacher's" not in text
    assert "larger model" not in text
