"""Asks a teacher about rows. `python training/teacher.py --help` lists all settings."""

import asyncio
import hashlib
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError

from tasks.builtin import TASKS
from tasks.command_line import from_command_line
from tasks.task import Task
from training.annotation.answer_store import AnswerStore, StoreError
from training.annotation.completion import Completion, Request
from training.annotation.dialogue import Dialogue
from training.annotation.old_answers import read_old_answers
from training.annotation.prompt import Prompt, load_prompt
from training.annotation.results import ResultFiles, keys_of_failures, results
from training.annotation.rows import Rows
from training.annotation.settings import TeacherSettings, problem_of
from training.annotation.tokens import LIMITS, answer_limit
from training.config import load_config
from training.data.row import DataError, Row
from training.data.sources import Columns, columns_of
from training.yaml_files import ConfigError


def main(argv: list[str] | None = None, prog: str = "teacher.py") -> int:
    """Returns 0 where every row has a result, 1 where some lack one, 2 where it cannot go on."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for client in ("httpx", "httpx2"):  # a line for every request
        logging.getLogger(client).setLevel(logging.WARNING)
    try:
        settings = from_command_line(TeacherSettings, argv, prog)
    except ValidationError as error:
        return _tell(problem_of(error))
    except SettingsError as error:
        return _tell(str(error).removeprefix("error parsing CLI: "))
    try:
        return _run(settings)
    except BrokenPipeError:  # the reader of stdout has ended, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ConfigError, DataError, StoreError, OSError) as error:
        return _tell(str(error))
    except ModuleNotFoundError as error:
        return _tell(f"the package {error.name} is missing: pip install '.[teacher]'")
    except KeyboardInterrupt:
        return _tell(f"stopped; {_go_on(settings)}", 130)


def _tell(text: str, status: int = 2) -> int:
    print("teacher:", " ".join(text.split()), file=sys.stderr)
    return status


def _go_on(settings: TeacherSettings) -> str:
    # given again, --retry-failed would pay again for what failed in this run
    return f"the same command{', without --retry-failed,' * settings.retry_failed} goes on"


def _run(settings: TeacherSettings) -> int:
    task, columns = _task(settings)
    prompt = load_prompt(task, settings.prompt)
    rows = Rows(settings.data, task, columns, settings.given_label, settings.limit)
    body = {"temperature": settings.temperature, "max_tokens": settings.max_tokens} | settings.body
    if settings.budget is not None and answer_limit(body) is None:
        raise ConfigError(
            f"--budget: the cost of an answer has no limit; set {' or '.join(LIMITS)} in --body"
        )
    dialogue = Dialogue(
        task,
        prompt,
        settings.model,
        body,
        as_json=settings.as_json,
        given_label=settings.given_label,
    )
    files = ResultFiles(
        settings.out,
        settings.failed,
        columns,
        several=settings.samples > 1,
        label_given=settings.given_label,
    )
    count = 0
    for source in rows:  # check all rows before asking about any
        dialogue.exchange(source.row, 0, lambda key: None)
        count += 1
    if not count:
        raise DataError(f"{settings.data}: there are no rows")
    stored = settings.answers.exists() or settings.old_answers.exists()
    if settings.out.exists() and not stored:
        raise ConfigError(
            f"--out: {settings.out} is there already, without its {settings.answers.name}: choose "
            "another file"
        )
    store = AnswerStore(settings.answers, read_old_answers(settings.old_answers))
    if settings.dry_run:
        with store if stored else nullcontext() as opened:
            return _print_requests(rows, settings, dialogue, opened)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    with store:
        if settings.retry_failed:
            store.forget(_failures(rows, settings.samples, dialogue, store))
        facts = _facts(settings, task, prompt, body)
        return _annotate(settings, rows, count, dialogue, store, files, facts)


def _facts(
    settings: TeacherSettings, task: Task, prompt: Prompt, body: dict[str, Any]
) -> dict[str, Any]:
    return {
        "rows_from": str(settings.data),
        "task": task.name,
        "model": settings.model,
        "settings": json.dumps(body),
        "form": "JSON" if settings.as_json else "text",
        "label_given": settings.given_label,
        "samples": settings.samples,
        "prompt": hashlib.sha256(prompt.model_dump_json().encode()).hexdigest(),
    }


def _annotate(
    settings: TeacherSettings,
    rows: Rows,
    count: int,
    dialogue: Dialogue,
    store: AnswerStore,
    files: ResultFiles,
    facts: dict[str, Any],
) -> int:
    # here, so that --dry-run and --help need no client
    from training.annotation.asking import AllRefused, Asking, Conversation, Ended
    from training.annotation.budget import Budget, BudgetReached, Prices
    from training.annotation.endpoint import Endpoint
    from training.annotation.pace import Pace
    from training.annotation.progress import Progress

    prices = Prices(*settings.prices) if settings.prices else None

    def following(row: Row, sample: int) -> Request | None:
        return dialogue.exchange(row, sample, store.get).following

    def conversations() -> Iterator[list[Conversation]]:
        sources = (source.row for source in rows)
        for row, requests in dialogue.to_ask(sources, settings.samples, store.get):
            yield [partial(following, row, sample) for sample in requests]

    async def ask() -> tuple[Ended, Endpoint, Budget]:
        stopped = asyncio.Event()
        pace = Pace(stopped, settings.requests_per_minute, settings.tokens_per_minute)
        endpoint = Endpoint(
            settings.base_url, settings.key, pace, timeout=settings.timeout, tries=settings.tries
        )
        budget = Budget(store.spent, prices, settings.budget)
        asking = Asking(store, endpoint, budget, stopped)
        progress = Progress("teacher", count, store.spent, budget, endpoint)
        ended = await asking.ask_all(conversations(), progress, settings.concurrency)
        return ended, endpoint, budget

    ended, endpoint, budget = asyncio.run(ask())
    # here, as it loads scipy, and a run that is killed and started again does not need it
    from training.annotation.report import Tally, counted, write_report

    found = results(rows, rows.task, settings.samples, dialogue, store, ended.unanswered)
    tally = Tally(rows.task, settings.samples, settings.given_label)
    with files.writing(found) as written:
        counted(written, tally)
    cost = budget.cost
    facts |= asdict(store.spent) | {
        "cost": None if cost is None else round(cost, 6),
        "endpoint": endpoint.name,
    }
    report = write_report(settings.out, tally, facts)
    failed = tally.failures.total()
    print(
        f"{tally.annotated} rows annotated, {failed} failed, {tally.not_asked} not asked about",
        *([f"failed rows: {settings.failed}"] if failed else []),
        report,
        sep="\n",
    )
    go_on = _go_on(settings)
    if ended.signal:
        return _tell(f"stopped; {go_on}", 128 + ended.signal)
    if isinstance(ended.why, BudgetReached):
        return _tell(f"the budget ended at a cost of {cost:.4f}; a greater --budget goes on", 1)
    if isinstance(ended.why, AllRefused):
        return _tell(f"{ended.why}; --retry-failed asks these again")
    if ended.why is not None:
        return _tell(f"{ended.why}; {go_on}")
    if ended.unanswered:
        return _tell(f"{len(ended.unanswered)} requests went unanswered; {go_on}", 1)
    return 0


def _task(settings: TeacherSettings) -> tuple[Task, Columns]:
    if settings.recipe is None:
        assert settings.task is not None
        return TASKS[settings.task], {}
    config = load_config(settings.recipe)
    return config.task, columns_of(config.data)


def _failures(rows: Rows, samples: int, dialogue: Dialogue, store: AnswerStore) -> set[str]:
    return keys_of_failures(results(rows, rows.task, samples, dialogue, store, {}))


def _print_requests(
    rows: Rows, settings: TeacherSettings, dialogue: Dialogue, store: AnswerStore | None
) -> int:
    """Prints the next request about each unfinished row. Later requests depend on the answers."""
    retried = set[str]()
    if store is not None and settings.retry_failed:
        retried = _failures(rows, settings.samples, dialogue, store)

    def answered(key: str) -> Completion | None:
        return None if store is None or key in retried else store.get(key)

    for _, following in dialogue.to_ask((s.row for s in rows), settings.samples, answered):
        for request in following.values():
            print(json.dumps(request.body, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
