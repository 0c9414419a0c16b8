import json
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from tasks.builtin import TASKS
from tasks.task import Task
from training.annotation.answer import Annotation
from training.annotation.dialogue import Exchange, Failure, Request
from training.annotation.report import EACH, Right, Tally, counted, write_report
from training.annotation.results import Result
from training.annotation.rows import SourceRow
from training.data.row import Row

TONE = Task(name="tone", fields=["text"], template="{{text}}", labels=["good", "bad"])
FACTS = {"model": "m", "cost": None, "label_given": False, "rows_from": "rows_1.jsonl"}


def result(
    gold: str | None,
    label: str | None,
    *,
    text: str = "It was.",
    agreement: float = 1.0,
    rationales: tuple[str, ...] = ("So it is.",),
    reason: str = "empty answer",
    requests: int = 1,
) -> Result:
    """A row that is annotated with `label`, or failed for a reason where that is None."""
    outcome: Annotation | Failure = (
        Failure(reason, "Hm. `*`") if label is None else Annotation(label, rationales, agreement)
    )
    one = Failure(reason, "Hm.") if label is None else Annotation(label, rationales[:1])
    asked = [Request(str(n), {}) for n in range(requests)]
    source = SourceRow({}, Row("line 1", {"text": text}, gold))
    return Result(source, [Exchange(asked, one)], outcome)


def report(
    folder: Path, found: list[Result], task: Task = TONE, samples: int = 1, **facts: Any
) -> tuple[dict[str, Any], str]:
    facts = FACTS | facts
    tally = counted(iter(found), Tally(task, samples, facts["label_given"]))
    path = write_report(folder / "out.jsonl", tally, facts)
    assert path == folder / "out.report.md"
    content = json.loads((folder / "out.report.json").read_text(encoding="utf-8"))
    return content, path.read_text(encoding="utf-8")


def test_it_counts_rows_agreement_reasons_and_lengths(tmp_path: Path) -> None:
    found = [
        *[result("good", "good", rationales=("one two three",), requests=2)] * 3,
        result("good", "bad", rationales=("one",)),
        result("bad", "bad", rationales=("one two",)),
        result(None, "bad", rationales=("one two",)),
        result("bad", None, reason="unanswered: no answer in time"),
        result("bad", None, reason="unanswered: Error code: 500"),
        result(None, None, reason="answer without a label"),
        Result(SourceRow({}, Row("line 9", {"text": "?"}, None)), [Exchange([], None)], None),
    ]
    content, text = report(tmp_path, found, cost=1.5)
    assert content["rows"] == {"annotated": 6, "failed": 3, "not_asked": 1}
    assert content["repaired"] == 3
    assert content["failures"] == {"unanswered": 2, "answer without a label": 1}
    assert content["labels"] == {"good": 3, "bad": 3}
    # Wilson: centre (4 + 1.92) / (5 + 3.84) = 0.670, half width 0.294
    agreement = {"right": 4, "rows": 5, "share": 0.8, "low": 0.3755, "high": 0.9638}
    assert content["agreement_with_gold"] == agreement
    by_label = content["agreement_with_gold_by_label"]
    assert (by_label["good"]["right"], by_label["good"]["rows"]) == (3, 4)
    assert (by_label["bad"]["right"], by_label["bad"]["rows"]) == (1, 1)
    words = {"0 %": 1, "5 %": 1, "25 %": 2, "50 %": 2, "75 %": 3, "95 %": 3, "100 %": 3}
    assert content["words_a_rationale"] == words
    assert content["run"] == FACTS | {"cost": 1.5}
    for shown in (
        "**6 rows annotated, 3 failed, 1 not asked about; the teacher agrees with the gold label "
        "on 80.0 % (4 of 5; 95 % interval 37.5 % to 96.4 %).**",
        "# Teacher: rows\\_1.jsonl",
        "| cost | 1.5 |",
        "| answers used after a repair | 3 |",
        "| unanswered | 2 |",
    ):
        assert shown in text
    assert "among" not in text


def test_samples_are_told_by_their_agreement(tmp_path: Path) -> None:
    found = [
        *[result("good", "good", agreement=1.0)] * 2,
        result("good", "good", agreement=2 / 3),
        result("good", "bad", agreement=2 / 3),
        result(None, "bad", agreement=1 / 3),
    ]
    lost = Exchange([Request("1", {})], Failure("answer cut off at the limit of tokens", "So"))
    found[4] = Result(found[4].source, [*found[4].exchanges, lost, lost], found[4].outcome)
    content, text = report(tmp_path, found, samples=3)
    among = content["agreement_among_samples"]
    assert [(one["agreement"], one["rows"]) for one in among] == [
        (1.0, 2),
        (0.6667, 2),
        (0.3333, 1),
    ]
    assert [one["right"] and one["right"]["right"] for one in among] == [2, 1, None]
    assert content["failed_samples"] == {"answer cut off at the limit of tokens": 2}
    assert "## Agreement among 3 samples" in text
    assert "| 33.3 % | 1 | – |" in text
    assert "| answer cut off at the limit of tokens | 2 |" in text


def test_a_given_label_is_no_agreement(tmp_path: Path) -> None:
    content, text = report(tmp_path, [result("good", "good")] * 3, label_given=True)
    assert content["agreement_with_gold"] is None
    assert not content["agreement_with_gold_by_label"]
    assert "Do not compare a student of these rows" in text
    assert list(content["to_read"]) == ["good"]


def test_equations_are_judged_by_their_value_and_not_listed(tmp_path: Path) -> None:
    found = [result("( 3 + 4 )", "( 4.0 + 3 )"), result("( 3 + 4 )", "( 3 * 4 )")]
    content, text = report(tmp_path, found, TASKS["svamp"])
    assert content["agreement_with_gold"]["right"] == 1
    assert not content["labels"]
    assert list(content["to_read"]) == ["right", "wrong"]
    assert "## Labels" not in text


def test_rows_to_read_are_drawn_from_every_stratum(tmp_path: Path) -> None:
    found = [result("good", "good", text=f"right {n}") for n in range(500)]
    found += [result("good", "bad", text=f"wrong {n}") for n in range(50)]
    found += [result("bad", "bad", text="only one")]
    found += [result("bad", None, text=f"failed {n}") for n in range(5)]
    content, _ = report(tmp_path, found)
    to_read = content["to_read"]
    assert {stratum: len(readings) for stratum, readings in to_read.items()} == {
        "bad, right": 1,
        "failed: empty answer": EACH,
        "good, right": EACH,
        "good, wrong": EACH,
    }
    numbers = [int(reading["text"].split()[1]) for reading in to_read["good, right"]]
    assert max(numbers) > 50  # drawn from all, not the first ones
    assert to_read["failed: empty answer"][0]["rationale"] == "Hm. `*`"
    assert report(tmp_path, found)[0] == content  # the same every time


def test_what_rows_hold_is_shown_as_text(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>\n# A heading | ``` **bold**\n```"
    found = [result(None, "good", text=nasty, rationales=(nasty,))]
    _, text = report(tmp_path, found, rows_from="<b>|*rows*")
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script>" not in html
    assert "<b>" not in html
    assert "<strong>bold" not in html
    assert "A heading</h1>" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2


def test_nothing_at_all(tmp_path: Path) -> None:
    content, text = report(tmp_path, [])
    assert content["rows"] == {"annotated": 0, "failed": 0, "not_asked": 0}
    assert "**0 rows annotated, 0 failed.**" in text


def test_the_share_of_right_ones() -> None:
    right = Right()
    for one in (True, True, False, True):
        right.count(one)
    assert (right.right, right.rows, right.share) == (3, 4, 0.75)
    low, high = right.interval
    assert (low, high) == (pytest.approx(0.3006, abs=1e-4), pytest.approx(0.9544, abs=1e-4))
