"""What stops the command, how it says so, and how it goes on."""

import json
import logging
import os
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support.fake_openai import Reply, chatting, completion
from tests.support.fake_teacher import (
    Row,
    annotated,
    ask,
    asked,
    complaint,
    failed,
    lines,
    problem_of,
    report,
    solved,
    teach,
)
from tests.support.server_process import TIMEOUT
from training.annotation.answer_store import AnswerStore
from training.annotation.asking import GIVE_UP

KEY = "sk-not-to-be-shown"


def counted(body: Row, number: int) -> Reply:
    """An answer that took 400 tokens in and 100 out, or 100 and 50 of money at prices 1 and 2."""
    usage = {"prompt_tokens": 400, "completion_tokens": 100}
    return Reply(200, json.dumps(completion(solved(body)) | {"usage": usage}))


def test_the_budget_stops_it_cleanly_and_a_greater_one_goes_on(
    out: Path, problems: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    prices = ["--prices", "1000", "2000"]  # 0.6 for each of them
    with chatting(counted) as chat:
        assert ask(out, chat, *prices, "--budget", "9") == 1
        printed = capsys.readouterr()
        first = len(chat.requests)
        assert 0 < first < 15
        assert len(lines(out)) == first
        assert report(out)["rows"] == {"annotated": first, "failed": 0, "not_asked": 30 - first}
        cost = report(out)["run"]["cost"]
        assert cost == pytest.approx(0.6 * first)
        assert cost <= 9
        last = f"teacher: the budget ended at a cost of {cost:.4f}; a greater --budget goes on"
        assert printed.err.splitlines()[-1] == last
        assert f"cost {cost:.4f}" in printed.err
        assert ask(out, chat, *prices, "--budget", "9") == 1  # nothing is left of it
        assert len(chat.requests) == first
        assert ask(out, chat, *prices, "--budget", "30") == 0
        assert asked(chat) == {row["input"]: 1 for row in problems}
        assert lines(out) == [annotated(row) for row in problems]
        assert report(out)["run"]["cost"] == pytest.approx(18)


def test_limits_of_rate_are_kept(out: Path, problems: list[Row]) -> None:
    for arguments, least in (
        (["--requests-per-minute", "3000"], 29 * 60 / 3000),
        (["--tokens-per-minute", "1500000", "--model", "n"], 29 * 500 * 60 / 1500000),
    ):
        began = time.monotonic()
        with chatting(counted) as chat:
            assert ask(out, chat, *arguments) == 0
            assert chat.times[-1] - began >= least


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_answers_under_way_come(
    out: Path, problems: list[Row], number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    held = threading.Barrier(4, timeout=TIMEOUT)

    def respond(body: Row, count: int) -> Reply:
        if 8 <= count < 12:  # all of those under way
            if held.wait() == 0:
                os.kill(os.getpid(), number)
            return Reply(200, teach(body).text, delay=0.2)
        return teach(body)

    with chatting(respond) as chat:
        assert ask(out, chat, "--concurrency", "4") == 128 + number
        printed = capsys.readouterr()
        assert "teacher: stopping; waits for the answers in flight" in printed.err
        assert printed.err.endswith("teacher: stopped; the same command goes on\n")
        assert "12 rows annotated, 0 failed, 18 not asked about" in printed.out
        assert len(chat.requests) == len(lines(out)) == 12
        assert ask(out, chat) == 0
        assert asked(chat) == {row["input"]: 1 for row in problems}
    assert lines(out) == [annotated(row) for row in problems]


def test_a_second_signal_does_not_wait(out: Path, problems: list[Row]) -> None:
    def respond(body: Row, number: int) -> Reply:
        if number == 5:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)  # two at the same time would be one
            os.kill(os.getpid(), signal.SIGINT)
            return Reply(200, teach(body).text, delay=TIMEOUT)
        return teach(body)

    with chatting(respond) as chat:
        assert ask(out, chat, "--concurrency", "1") == 128 + signal.SIGTERM
        assert len(lines(out)) == 5
        assert ask(out, chat) == 0
    assert lines(out) == [annotated(row) for row in problems]


def test_what_went_unanswered_is_asked_again_by_the_next_run(
    out: Path, problems: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {problems[4]["input"]}

    def respond(body: Row, number: int) -> Reply:
        down = problem_of(body)["input"] in broken
        return Reply(500, '{"error": {"message": "down"}}') if down else teach(body)

    with chatting(respond) as chat:
        assert ask(out, chat, "--tries", "3") == 1
        err = capsys.readouterr().err
        assert err.endswith("teacher: 1 requests went unanswered; the same command goes on\n")
        assert "tried again 2 times (last: Error code: 500" in err
        assert asked(chat)[problems[4]["input"]] == 3
        [row] = failed(out)
        assert row["failed"]["reason"].startswith("unanswered: Error code: 500")
        assert report(out)["failures"] == {"unanswered": 1}
        broken.clear()
        assert ask(out, chat) == 0
        assert len(chat.requests) == 33
    assert lines(out) == [annotated(row) for row in problems]


def test_it_gives_up_where_nothing_is_answered(
    out: Path, problems: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    with chatting(lambda body, number: Reply(500, "down")) as chat:
        line = complaint(out, capsys, "--tries", "2", url=chat.url)
        assert "gave up: down" in line or "gave up: Error code: 500" in line
        assert line.endswith("; the same command goes on")
        assert 2 * GIVE_UP <= len(chat.requests) < 60


def test_it_gives_up_where_all_is_refused(
    out: Path, problems: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = {"error": {"message": "no response_format here"}}

    def respond(body: Row, number: int) -> Reply:
        return Reply(400, json.dumps(refusal)) if "response_format" in body else teach(body)

    with chatting(respond) as chat:
        line = complaint(out, capsys, "--json", "--concurrency", "1", url=chat.url)
        assert "refused every request: Error code: 400" in line
        assert "no response_format here" in line
        assert len(chat.requests) == GIVE_UP
        assert ask(out, chat) == 0
    assert lines(out) == [annotated(row) for row in problems]


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (401, {"message": f"Incorrect API key provided: {KEY}"}, "provided: (the key)"),
        (404, {"message": "The model `m` does not exist"}, "The model `m` does not exist"),
        (429, {"message": "You exceeded your quota", "code": "insufficient_quota"}, "your quota"),
    ],
)
def test_what_no_request_gets_past_stops_it_in_one_line(
    out: Path,
    problems: list[Row],
    status: int,
    error: dict[str, str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with chatting(lambda body, number: Reply(status, json.dumps({"error": error}))) as chat:
        line = complaint(out, capsys, "--concurrency", "2", url=chat.url)
        assert said in line
        assert len(chat.requests) <= 2


def test_answers_of_an_earlier_version_are_taken_over_and_a_cut_one_is_asked_again_alone(
    out: Path, problems: list[Row], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "duet.teacher")
    store, journal = out.with_suffix(".answers.sqlite"), out.with_suffix(".answers.jsonl")
    with chatting(teach) as chat:
        assert ask(out, chat, "--concurrency", "1") == 0
        journal.write_text(old_answers(store)[:-40])
        before = journal.read_bytes()
        store.unlink()
        assert ask(out, chat) == 0
        assert caplog.messages == [
            f"{journal}: the last line, 30, is cut off: left out",
            f"{journal}: copied into the new store of answers",
        ]
        assert asked(chat) == {row["input"]: 1 + (row == problems[-1]) for row in problems}
        assert report(out)["run"]["requests"] == 30
        assert ask(out, chat) == 0  # and no third time
        assert len(chat.requests) == 31
    assert lines(out) == [annotated(row) for row in problems]
    assert journal.read_bytes() == before


def old_answers(path: Path) -> str:
    """The lines of JSON that Duet 0.1 kept in place of a store."""
    with AnswerStore(path) as store:
        keys = store._connection.execute("SELECT key FROM completions ORDER BY id").fetchall()
        answers = [(key, store.get(key)) for (key,) in keys]
    entries = [{"key": key, "answer": asdict(answer)} for key, answer in answers if answer]
    return "".join(json.dumps(entry) + "\n" for entry in entries)
