"""Asks about every row, many at a time, until all is answered or something ends it."""

import asyncio
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tqdm import tqdm

from training.annotation.budget import Budget, BudgetReached
from training.annotation.dialogue import Dialogue, Request
from training.annotation.endpoint import Endpoint, EndpointError, Unanswered
from training.annotation.journal import Journal, JournalError
from training.data import Row

GIVE_UP = 20  # requests that went unanswered, with none answered between them

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Ended:
    """How asking ended: `why` it did before all was asked, and what went unanswered, by key."""

    why: Exception | None = None
    signal: int = 0
    unanswered: dict[str, str] = field(default_factory=dict)


async def ask_all(
    rows: Iterable[Row],
    count: int,
    samples: int,
    concurrency: int,
    dialogue: Dialogue,
    journal: Journal,
    endpoint: Endpoint,
    budget: Budget,
    stopped: asyncio.Event,
) -> Ended:
    """Asks for `samples` answers about each of `count` rows, and journals each as it comes.

    What was answered before is not asked again, and rows that read the same are asked about once.
    The first SIGINT or SIGTERM sets `stopped` and waits for the answers under way, as they are
    paid for; the second one drops them.
    """
    ended = Ended()
    failed_in_a_row = 0
    bar = tqdm(total=count * samples, desc="teacher", unit="answer", disable=None)

    def todo() -> Iterator[tuple[Row, int]]:
        seen = set[str]()
        for row in rows:
            for sample in range(samples):
                steps = dialogue.steps(row, sample, journal.get)
                first = steps[0]
                assert isinstance(first, Request)
                if first.key not in seen and isinstance(steps[-1], Request):
                    seen.add(first.key)
                    yield row, sample
                else:
                    bar.update()

    def stop(why: Exception) -> None:
        ended.why = ended.why or why
        stopped.set()

    async def converse(row: Row, sample: int) -> None:
        nonlocal failed_in_a_row
        while isinstance(step := dialogue.steps(row, sample, journal.get)[-1], Request):
            try:
                async with budget.reserved(step.body):
                    journal.append(step.key, await endpoint.ask(step.body))
            except Unanswered as error:
                if stopped.is_set():
                    return
                ended.unanswered[step.key] = str(error)
                failed_in_a_row += 1
                if failed_in_a_row >= GIVE_UP:
                    stop(EndpointError(f"{endpoint.name}: gave up: {error}"))
                return
            failed_in_a_row = 0
            bar.set_postfix_str(_so_far(journal, budget), refresh=False)

    async def work() -> None:
        for row, sample in waiting:  # shared: each dialogue goes to one worker
            try:
                await converse(row, sample)
            except (BudgetReached, EndpointError, JournalError, OSError) as why:
                stop(why)
            if stopped.is_set():
                return
            bar.update()

    waiting = todo()
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def receive(number: int) -> None:
        if ended.signal:
            task.cancel()
            return
        ended.signal = number
        stopped.set()
        bar.write("teacher: stopping; the answers under way are paid for, and waited for")

    for number in SIGNALS:
        loop.add_signal_handler(number, receive, number)
    try:
        async with endpoint, asyncio.TaskGroup() as workers:
            for _ in range(concurrency):
                workers.create_task(work())
    except asyncio.CancelledError:
        if not ended.signal:
            raise
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        bar.close()
    return ended


def _so_far(journal: Journal, budget: Budget) -> str:
    spent, cost = journal.spent, budget.cost
    tokens = f"{spent.input_tokens + spent.output_tokens:,} tokens"
    return tokens if cost is None else f"{tokens}, cost {cost:.4f}"
