import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tasks.builtin import TASKS
from tests.support.fake_teacher import solved
from tests.support.simple_problems import write_problems
from training.annotation.answer_store import AnswerStore, StoreError
from training.annotation.asking import GIVE_UP, AllRefused, Asking, Ended
from training.annotation.budget import Budget, BudgetReached, Prices
from training.annotation.completion import Completion, Request
from training.annotation.dialogue import Dialogue
from training.annotation.endpoint import EndpointError, Unanswered
from training.annotation.progress import Progress
from training.annotation.prompt import load_prompt
from training.annotation.rows import Rows
from training.data.row import DataError, Row

SVAMP = TASKS["svamp"]
REFUSED = Completion(None, refused="flagged")

Reply = Completion | Exception


def right(body: dict[str, Any], number: int) -> Reply:
    return Completion(solved(body), "stop", input_tokens=10, output_tokens=5)


@dataclass
class FakeEndpoint:
    """Answers at once, by a request's body and how many came before it."""

    reply: Callable[[dict[str, Any], int], Reply]
    asked: list[dict[str, Any]] = field(default_factory=list)
    name: str = "http://teacher/v1/"
    retries: int = 0
    trouble: str = ""

    async def __aenter__(self) -> "FakeEndpoint":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def ask(self, body: dict[str, Any]) -> Completion:
        number = len(self.asked)
        self.asked.append(body)
        await asyncio.sleep(0)
        reply = self.reply(body, number)
        if isinstance(reply, Exception):
            raise reply
        return reply


def rows_in(folder: Path, count: int = 40) -> list[Row]:
    write_problems(folder / "rows.jsonl", rows=count, seed=0)
    return [source.row for source in Rows(folder / "rows.jsonl", SVAMP, {}, False, None)]


def ask_about(
    rows: Iterable[Row],
    folder: Path,
    reply: Callable[[dict[str, Any], int], Reply] = right,
    *,
    samples: int = 1,
    concurrency: int = 4,
    cap: float | None = None,
) -> tuple[Ended, FakeEndpoint, Progress]:
    dialogue = Dialogue(
        SVAMP, load_prompt(SVAMP, None), "m", {"max_tokens": 50}, as_json=False, given_label=False
    )

    async def ask(store: AnswerStore) -> tuple[Ended, FakeEndpoint, Progress]:
        def following(row: Row, sample: int) -> Request | None:
            return dialogue.exchange(row, sample, store.get).following

        stopped, endpoint = asyncio.Event(), FakeEndpoint(reply)
        budget = Budget(store.spent, Prices(1e6, 1e6), cap)
        asking = Asking(store, endpoint, budget, stopped)
        progress = Progress("teacher", 40, store.spent, budget, endpoint)
        conversations = (
            [partial(following, row, sample) for sample in requests]
            for row, requests in dialogue.to_ask(rows, samples, store.get)
        )
        ended = await asking.ask_all(conversations, progress, concurrency)
        return ended, endpoint, progress

    with AnswerStore(folder / "a.answers.sqlite") as store:
        return asyncio.run(ask(store))


def kept(folder: Path) -> int:
    with AnswerStore(folder / "a.answers.sqlite") as store:
        return store.spent.requests


def test_every_row_is_asked_about_and_counted_once(tmp_path: Path) -> None:
    rows = rows_in(tmp_path)
    ended, endpoint, progress = ask_about(rows, tmp_path, samples=3)
    assert ended == Ended()
    assert len(endpoint.asked) == kept(tmp_path) == 120
    assert progress._bar.n == 40  # rows, not samples
    ended, endpoint, progress = ask_about(rows, tmp_path, samples=4)
    assert len(endpoint.asked) == 40
    assert (progress._bar.n, progress._bar.initial) == (40, 0)
    ended, endpoint, progress = ask_about(rows, tmp_path, samples=4)
    assert (ended, endpoint.asked) == (Ended(), [])
    assert (progress._bar.n, progress._bar.initial) == (40, 40)


def test_what_went_unanswered_is_told_by_its_key(tmp_path: Path) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        return Unanswered("down") if number in (3, 7) else right(body, number)

    ended, endpoint, _ = ask_about(rows_in(tmp_path), tmp_path, reply)
    assert (ended.why, list(ended.unanswered.values())) == (None, ["down", "down"])
    assert len(endpoint.asked) == 40
    assert kept(tmp_path) == 38


def test_a_run_is_given_up_only_where_failures_follow_each_other(tmp_path: Path) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        return right(body, number) if number % GIVE_UP == GIVE_UP - 1 else Unanswered("down")

    rows = rows_in(tmp_path)
    ended, endpoint, _ = ask_about(rows, tmp_path, reply, concurrency=1)
    assert (ended.why, len(ended.unanswered), len(endpoint.asked)) == (None, 38, 40)
    ended, endpoint, _ = ask_about(rows, tmp_path, lambda *_: Unanswered("down"), concurrency=1)
    assert isinstance(ended.why, EndpointError)
    assert str(ended.why) == "http://teacher/v1/: gave up: down"
    assert len(endpoint.asked) == GIVE_UP


def test_refusals_end_a_run_only_where_nothing_was_ever_answered(tmp_path: Path) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        return right(body, number) if number == GIVE_UP - 1 else REFUSED

    rows = rows_in(tmp_path)
    ended, endpoint, _ = ask_about(rows, tmp_path, reply, concurrency=1)
    assert (ended, len(endpoint.asked)) == (Ended(), 40)
    ended, endpoint, _ = ask_about(
        rows, tmp_path, lambda *_: REFUSED, samples=2, concurrency=1
    )  # second samples alone
    assert isinstance(ended.why, AllRefused)
    assert str(ended.why) == "http://teacher/v1/: refused every request: flagged"
    assert len(endpoint.asked) == GIVE_UP


def test_what_ends_a_run_lets_the_others_come_and_is_told(tmp_path: Path) -> None:
    def reply(body: dict[str, Any], number: int) -> Reply:
        return EndpointError("no such model") if number == 9 else right(body, number)

    ended, endpoint, _ = ask_about(rows_in(tmp_path), tmp_path, reply)
    assert str(ended.why) == "no such model"
    assert len(endpoint.asked) <= 13
    assert kept(tmp_path) == len(endpoint.asked) - 1


def test_a_file_that_breaks_off_meanwhile_loses_no_answer(tmp_path: Path) -> None:
    def broken() -> Iterator[Row]:
        yield from rows_in(tmp_path)[:10]
        raise DataError("rows.jsonl, line 11: not JSON")

    ended, endpoint, _ = ask_about(broken(), tmp_path)
    assert str(ended.why) == "rows.jsonl, line 11: not JSON"
    assert len(endpoint.asked) == kept(tmp_path) == 10


def test_the_budget_ends_it(tmp_path: Path) -> None:
    ended, endpoint, _ = ask_about(rows_in(tmp_path), tmp_path, cap=2000)  # one may take 1,800
    assert isinstance(ended.why, BudgetReached)
    assert 0 < len(endpoint.asked) == kept(tmp_path) < 40


def test_a_disk_that_is_full_ends_it(tmp_path: Path, monkeypatch: Any) -> None:
    keep = AnswerStore.keep

    def full(self: AnswerStore, key: str, completion: Completion) -> None:
        if self.spent.requests == 5:
            raise StoreError("a.answers.sqlite: the disk is full")
        keep(self, key, completion)

    monkeypatch.setattr(AnswerStore, "keep", full)
    ended, _, _ = ask_about(rows_in(tmp_path), tmp_path)
    assert isinstance(ended.why, StoreError)
    assert kept(tmp_path) == 5
