import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tasks.builtin import TASKS
from tests.support.fake_judge import Reply, judging, said
from tests.support.rationale_records import record
from tests.support.server_process import ROOT, TIMEOUT
from training.evaluation.judge import Judge, JudgeError, Judgement, judge_rationales, parse_score

ROWS = [record(f"Reason {number}.", index=number) for number in range(12)]


def graded(body: dict[str, Any], number: int = 0) -> Reply:
    """A score by the row's number, so that one row's cannot be taken for another's."""
    text = body["messages"][1]["content"]
    return said(f"Fine.\nScore: {int(text.split('Reason ')[1].split('.')[0]) % 5 + 1}")


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.annotation.endpoint._backoff", lambda state: 0.0)


SCORES = [number % 5 + 1 for number in range(12)]


def scores(judgements: list[Judgement | None]) -> list[int | None]:
    return [one and one.score for one in judgements]


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("It is sound.\nScore: 4", 4),
        ("**Score:** 4/5", 4),
        ("Score: 2\nOn second thoughts:\nscore: 3.", 3),
        ("Score: 1\n\n", 1),
        ("Score: 4.5", None),
        ("Score: 6", None),
        ("Score: 45", None),
        ("Score: 1-5", None),
        ("I would give a score: 4 of 5, or 3", None),
        ("4", None),
        ("", None),
    ],
)
def test_a_score_is_a_line_of_its_own(answer: str, score: int | None) -> None:
    assert parse_score(answer) == score


def test_each_rationale_is_asked_about_once_and_never_again(tmp_path: Path) -> None:
    rows = [*ROWS, ROWS[3], record(None)]
    with judging(graded) as endpoint:
        where = Judge(endpoint.url, "grader", concurrency=3)
        first = judge_rationales(rows, where, tmp_path / "judgements.sqlite")
        assert scores(first) == [*SCORES, SCORES[3], None]
        assert first[0] == Judgement(1, "Fine.\nScore: 1")
        assert first[-1] is None
        assert sorted(endpoint.asked()) == sorted(row.rationale for row in ROWS)
        assert endpoint.most_at_once <= 3
        body = endpoint.requests[0]
        assert (body["path"], body["model"], body["temperature"]) == (
            "/v1/chat/completions",
            "grader",
            0,
        )
        assert judge_rationales(rows, where, tmp_path / "judgements.sqlite") == first
        assert len(endpoint.requests) == 12
        # another model, or another text, is another question
        judge_rationales(rows[:1], Judge(endpoint.url, "other"), tmp_path / "judgements.sqlite")
        judge_rationales([record("Reason 1. Now.")], where, tmp_path / "judgements.sqlite")
        assert len(endpoint.requests) == 14


def test_the_judge_sees_the_input_and_no_label(tmp_path: Path) -> None:
    fields = {"premise": "A man sleeps.", "hypothesis": "A man is awake."}
    row = record("Reason 1.", task=TASKS["esnli"], input=fields, gold="contradiction")
    with judging(graded) as endpoint:
        judge_rationales([row], Judge(endpoint.url, "grader"), tmp_path / "judgements.sqlite")
    assert endpoint.requests[0]["messages"][1]["content"] == (
        "<question>\npremise: A man sleeps.\nhypothesis: A man is awake.\n"
        "possible answers: contradiction; entailment; neutral\n</question>\n"
        "<reasoning>\nReason 1.\n</reasoning>"
    )


def test_what_fails_for_a_while_is_asked_again(tmp_path: Path) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        failures = {0: (429, "{}"), 1: (500, "oops"), 2: (503, "{}"), 5: (200, "garbage")}
        return failures.get(number) or graded(body)

    with judging(reply) as endpoint:
        found = judge_rationales(
            ROWS, Judge(endpoint.url, "grader", 2), tmp_path / "judgements.sqlite"
        )
        assert scores(found) == SCORES
        assert len(endpoint.requests) == 16


def test_an_answer_without_a_score_is_asked_again_and_then_unjudged(tmp_path: Path) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        again = len(body["messages"]) > 2
        if "Reason 1." in body["messages"][1]["content"]:
            return said(f"I will not, {number}.")
        return graded(body) if again else said("Nice!")

    with judging(reply) as endpoint:
        where = Judge(endpoint.url, "grader", concurrency=1)
        found = judge_rationales(ROWS[:2], where, tmp_path / "judgements.sqlite")
        assert found == [Judgement(1, "Fine.\nScore: 1"), Judgement(None, "I will not, 4.")]
        assert [len(body["messages"]) for body in endpoint.requests] == [2, 4, 2, 4, 6]
        assert endpoint.requests[1]["messages"][2] == {"role": "assistant", "content": "Nice!"}
        assert judge_rationales(ROWS[:2], where, tmp_path / "judgements.sqlite") == found
        assert len(endpoint.requests) == 5


def test_a_row_that_is_refused_is_unjudged_and_asked_at_the_next_run(tmp_path: Path) -> None:
    refused = [True]

    def reply(body: dict[str, Any], number: int) -> Reply:
        too_long = refused[0] and "Reason 1." in body["messages"][1]["content"]
        return (400, '{"error": {"message": "too long"}}') if too_long else graded(body)

    with judging(reply) as endpoint:
        where = Judge(endpoint.url, "grader", concurrency=2)
        found = judge_rationales(ROWS, where, tmp_path / "judgements.sqlite")
        assert scores(found) == [1, None, *SCORES[2:]]
        assert "too long" in found[1].answer
        refused[0] = False
        assert scores(judge_rationales(ROWS, where, tmp_path / "judgements.sqlite")) == SCORES
        assert endpoint.asked()[12:] == ["Reason 1."]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ((401, '{"error": {"message": "no such key"}}'), "no such key.*start again to go on"),
        ((404, '{"error": {"message": "no such model"}}'), "no such model"),
        ((400, '{"error": {"message": "no temperature"}}'), "refused every request.*no temp"),
        ((200, "<html>"), "no chat completion"),
        ((200, "{}"), "no chat completion"),
        ((200, '{"choices": []}'), "no chat completion"),
        ((500, "{}"), "500.*0 of 12 rationales were judged"),
    ],
)
def test_an_endpoint_that_is_none_stops_it_and_nothing_is_kept(
    tmp_path: Path, reply: Reply, message: str
) -> None:
    with judging(lambda body, number: reply) as endpoint:
        where = Judge(endpoint.url, "grader", concurrency=2, tries=2)
        with pytest.raises(JudgeError, match=message):
            judge_rationales(ROWS, where, tmp_path / "judgements.sqlite")
    with judging(graded) as endpoint:
        where = Judge(endpoint.url, "grader")
        assert scores(judge_rationales(ROWS, where, tmp_path / "judgements.sqlite")) == SCORES


def test_what_an_earlier_version_kept_is_not_paid_for_again_unsaid(tmp_path: Path) -> None:
    path = tmp_path / "judgements.sqlite"
    with sqlite3.connect(path) as old:
        old.execute("CREATE TABLE judgements (key TEXT PRIMARY KEY, model, score, answer)")
    old.close()
    with judging(graded) as endpoint:
        with pytest.raises(JudgeError, match=r"not a store of answers of this version; move it"):
            judge_rationales(ROWS, Judge(endpoint.url, "grader"), path)
        assert not endpoint.requests


def test_a_judge_that_is_stopped_keeps_the_answers_under_way(tmp_path: Path) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        if number == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return graded(body)

    with judging(reply) as endpoint:
        where = Judge(endpoint.url, "grader", concurrency=1)
        with pytest.raises(KeyboardInterrupt):
            judge_rationales(ROWS, where, tmp_path / "judgements.sqlite")
        stopped = len(endpoint.requests)
        assert stopped < 12
        assert scores(judge_rationales(ROWS, where, tmp_path / "judgements.sqlite")) == SCORES
        assert len(endpoint.requests) == 12  # none was asked twice


def test_no_endpoint_and_no_store(tmp_path: Path) -> None:
    with judging(graded) as endpoint:
        gone = Judge(endpoint.url, "grader", tries=1)
    with pytest.raises(JudgeError, match="start again"):
        judge_rationales(ROWS, gone, tmp_path / "judgements.sqlite")
    (tmp_path / "notes.txt").write_text("no database at all, but a text " * 50)
    with pytest.raises(JudgeError, match=r"notes\.txt: not a store of answers"):
        judge_rationales(ROWS, gone, tmp_path / "notes.txt")


PROGRAM = """
import sys
from pathlib import Path
from tests.unit.training.evaluation.test_judge import ROWS
from training.evaluation.judge import Judge, judge_rationales
judge_rationales(ROWS, Judge(sys.argv[1], "grader", concurrency=2), Path(sys.argv[2]))
"""


def test_one_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    stuck, release = threading.Semaphore(0), threading.Event()

    def reply(body: dict[str, Any], number: int) -> Reply:
        if number >= 7 and not release.is_set():
            stuck.release()
            release.wait(TIMEOUT)
        return graded(body)

    store = tmp_path / "judgements.sqlite"
    with judging(reply) as endpoint:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, endpoint.url, str(store)], cwd=ROOT
        )
        try:
            for _ in range(2):  # when both wait, all that was answered is written
                assert stuck.acquire(timeout=TIMEOUT)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(TIMEOUT)
        release.set()
        answered = endpoint.asked()[:7]
        assert len(endpoint.requests) == 9
        found = judge_rationales(ROWS, Judge(endpoint.url, "grader", concurrency=2), store)
        assert scores(found) == SCORES
        assert sorted(endpoint.asked()[9:]) == sorted(
            row.rationale for row in ROWS if row.rationale not in answered
        )
