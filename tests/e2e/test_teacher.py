"""A teacher behind an endpoint that misbehaves, and a command that is killed."""

import contextlib
import json
import random
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from tests.support.fake_openai import Chat, Reply, chatting, completion, said
from tests.support.fake_teacher import (
    MUTE,
    Row,
    annotated,
    asked,
    command,
    environment,
    lines,
    problem_of,
    program,
    solved,
    teach,
)
from tests.support.server_process import ROOT, TIMEOUT
from tests.support.simple_problems import write_problems

ROWS = 1000
KILLS = 10
CONCURRENCY = 32
SLOW = 1.5  # seconds, until the command no longer waits

BUSY = json.dumps({"error": {"message": "too many requests", "code": "rate_limit_exceeded"}})

# What comes of a row before it is answered rightly: replies, one after the other.
FAULTS: dict[str, list[Reply]] = {
    "429, to wait": [Reply(429, BUSY, {"retry-after": "0.02"})] * 2,
    "429, to wait no time": [Reply(429, BUSY, {"retry-after": "0"})],
    "429": [Reply(429, BUSY)],
    "500": [Reply(500, "{}")],
    "503, to wait, then 502": [Reply(503, "{}", {"retry-after": "0.01"}), Reply(502, "<html>")],
    "slow": [Reply(200, MUTE.text, delay=60)],
    "trickling": [Reply(200, MUTE.text, trickle=0.05)],
    "cut": [Reply(200, MUTE.text, cut=40)],
    "nothing at all": [Reply(200, MUTE.text, cut=0)],
    "half of a JSON": [Reply(200, MUTE.text[:60])],
    "a page": [Reply(200, "<html>Sign in to the Wi-Fi</html>")],
    "no choices": [Reply(200, json.dumps(completion("") | {"choices": []}))],
    "no message": [Reply(200, json.dumps(completion("") | {"choices": [{"index": 0}]}))],
    "no label": [MUTE],
    "two labels": [said("So.\nAnswer: 1 + 1\nAnswer: 2 + 2")],
    "no text": [said(None)],
    "cut by its limit": [said("Let me see", finish_reason="length")],
    "everything": [Reply(429, BUSY), Reply(500, "{}"), Reply(200, "{", cut=0), MUTE],
}
RARE = ("slow", "trickling")  # they take their time
# What never comes to an end, and the reason that is told.
FAILURES: dict[str, tuple[Reply, str]] = {
    "never a label": (MUTE, 'answer without a line that begins with "Answer:"'),
    "another label": (said("So.\nAnswer: seven"), "label that is no equation with a value"),
    "refused": (Reply(400, '{"error": {"message": "flagged"}}'), "refused"),
    "silent": (said(""), "empty answer"),
}


class Misbehaving:
    """Replies to each row by its own plan."""

    def __init__(self, rows: list[Row]) -> None:
        rng = random.Random(0)
        usual = [name for name in FAULTS if name not in RARE]
        kinds = [*RARE * 5, *list(FAILURES) * 5]
        kinds += rng.choices([*usual, "well"], k=len(rows) - len(kinds))
        rng.shuffle(kinds)
        self.kinds = dict(zip((row["input"] for row in rows), kinds, strict=True))
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def respond(self, body: Row, number: int) -> Reply:
        text = problem_of(body)["input"]
        with self._lock:
            turn = self._asked[text]
            self._asked[text] += 1
        kind = self.kinds[text]
        if kind in FAILURES:
            return FAILURES[kind][0]
        plan = FAULTS.get(kind, [])
        return plan[turn] if turn < len(plan) else teach(body)


def start(rows: Path, out: Path, chat: Chat, *arguments: str) -> subprocess.Popen[str]:
    arguments = ("--concurrency", str(CONCURRENCY), *arguments)
    return subprocess.Popen(
        program(*command(rows, out, chat.url, *arguments)),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_thousand_rows_have_one_result_each_whatever_the_endpoint_does(tmp_path: Path) -> None:
    rows = write_problems(tmp_path / "rows.jsonl", rows=ROWS, seed=0)
    plan, out = Misbehaving(rows), tmp_path / "a.jsonl"
    with chatting(plan.respond) as chat:
        process = start(tmp_path / "rows.jsonl", out, chat, "--timeout", str(SLOW))
        printed, complaints = process.communicate()
        assert process.returncode == 0, complaints
        sent = len(chat.requests)
    assert "Traceback" not in complaints
    good = [row for row in rows if plan.kinds[row["input"]] not in FAILURES]
    bad = [row for row in rows if plan.kinds[row["input"]] in FAILURES]
    assert lines(out) == [annotated(row) for row in good]
    failed = lines(tmp_path / "a.failed.jsonl")
    assert [row["input"] for row in failed] == [row["input"] for row in bad]
    for row in failed:
        reason = FAILURES[plan.kinds[row["input"]]][1]
        assert row["failed"]["reason"].startswith(reason)
    assert len(good) + len(bad) == ROWS
    assert len(bad) == 5 * len(FAILURES)
    for text, times in asked(chat).items():
        # a machine that is busy may let an answer come too late, and then it is asked for again
        kind = plan.kinds[text]
        once = {"refused": 1}.get(kind, 2) if kind in FAILURES else 1 + len(FAULTS.get(kind, []))
        assert times >= once
    assert f"{len(good)} rows annotated, {len(bad)} failed, 0 not asked about" in printed
    print(f"{sent} requests for {ROWS} rows")


def test_ten_kills_lose_no_row_and_pay_for_none_twice(tmp_path: Path) -> None:
    rows = write_problems(tmp_path / "rows.jsonl", rows=ROWS, seed=1)
    out, store = tmp_path / "a.jsonl", tmp_path / "a.answers.sqlite"
    rng = random.Random(7)
    moments = [*sorted(rng.sample(range(1, ROWS), KILLS - 1)), ROWS]  # by rows asked about so far
    reached, seen = threading.Event(), set[str]()

    def respond(body: Row, number: int) -> Reply:
        seen.add(problem_of(body)["input"])
        if moment is not None and len(seen) >= moment:
            reached.set()
        # the model's name tells, in the store, of which request an answer is
        return Reply(200, json.dumps(completion(solved(body)) | {"model": str(number)}))

    def written() -> set[int]:
        """The requests whose answers the store has."""
        with contextlib.closing(sqlite3.connect(store)) as connection:
            whole = [int(model) for (model,) in connection.execute("SELECT model FROM completions")]
        assert len(whole) == len(set(whole))
        return set(whole)

    kept = set[int]()
    with chatting(respond) as chat:
        for moment in [*moments, None]:
            before = len(chat.requests)
            reached.clear()
            process = start(tmp_path / "rows.jsonl", out, chat)
            if moment is not None:
                assert reached.wait(TIMEOUT)
                time.sleep(rng.uniform(0, 0.05))
                process.kill()
            printed, complaints = process.communicate(timeout=TIMEOUT)
            paid = {problem_of(chat.requests[number])["input"] for number in kept}
            assert paid.isdisjoint(problem_of(body)["input"] for body in chat.requests[before:])
            earlier, kept = kept, written()
            assert earlier <= kept
        assert process.returncode == 0, complaints
    assert lines(out) == [annotated(row) for row in rows]
    assert f"{ROWS} rows annotated, 0 failed, 0 not asked about" in printed
    assert len(kept) == ROWS
    lost = len(chat.requests) - ROWS  # requests that were under way when a kill came
    assert lost <= KILLS * CONCURRENCY
    print(f"{len(chat.requests)} requests for {ROWS} rows, after {KILLS} kills")
