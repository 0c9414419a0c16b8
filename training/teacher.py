"""Asks a big model for the rationale and the label of each row: the data that distill.py reads.

The endpoint is any that speaks OpenAI's chat completions: its address, key and model are in the
environment, as OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL, or address and model are given
here. Beside OUT.jsonl stand OUT.answers.jsonl, which keeps every answer, OUT.failed.jsonl, and the
report, OUT.report.md. The same command goes on where a stopped one was, and asks nothing twice.

Ends with 0 where every row has its result, 1 where some were not answered or the budget ended
before them, and 2 where it could not go on.
"""

import argparse
import asyncio
import hashlib
import json
import logging
import os
import sys
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from tasks.builtin import TASKS
from tasks.task import Task
from training.annotation.command_line import failed_of, journal_of, parse_arguments
from training.annotation.dialogue import Dialogue
from training.annotation.journal import Answer, Journal, JournalError
from training.annotation.prompt import load_prompt
from training.annotation.results import ResultFiles, keys_of_failures, results
from training.annotation.rows import Rows
from training.annotation.tokens import LIMITS, answer_limit
from training.config import load_config
from training.data.row import DataError
from training.data.sources import Columns, DssSource
from training.yaml_files import ConfigError


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(__doc__, argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for client in ("httpx", "httpx2"):  # a line for every request
        logging.getLogger(client).setLevel(logging.WARNING)
    try:
        return _run(arguments)
    except BrokenPipeError:  # of a reader who has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ConfigError, DataError, JournalError, OSError) as error:
        print(f"teacher: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f"teacher: the package {error.name} is missing: pip install '.[teacher]'",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"teacher: stopped; {_go_on(arguments)}", file=sys.stderr)
        return 130


def _run(arguments: argparse.Namespace) -> int:
    task, columns = _task(arguments)
    prompt = load_prompt(task, arguments.prompt)
    rows = Rows(arguments.data, task, columns, arguments.given_label, arguments.limit)
    body = {"temperature": arguments.temperature, "max_tokens": arguments.max_tokens}
    settings = body | arguments.body
    if arguments.budget is not None and answer_limit(settings) is None:
        raise ConfigError(
            f"--budget: an answer could cost anything; name {' or '.join(LIMITS)} in --body"
        )
    dialogue = Dialogue(
        task,
        prompt,
        arguments.model,
        settings,
        as_json=arguments.json,
        given_label=arguments.given_label,
    )
    files = ResultFiles(
        arguments.out,
        failed_of(arguments.out),
        columns,
        several=arguments.samples > 1,
        label_given=arguments.given_label,
    )
    count = 0
    for source in rows:  # all are looked at before any is asked about
        dialogue.exchange(source.row, 0, lambda key: None)
        count += 1
    if not count:
        raise DataError(f"{arguments.data}: there are no rows")
    path = journal_of(arguments.out)
    if arguments.out.exists() and not path.exists():
        raise ConfigError(
            f"--out: {arguments.out} is there already, without its {path.name}: choose another file"
        )
    if arguments.dry_run:
        with Journal(path) if path.exists() else nullcontext() as journal:
            return _print_requests(rows, arguments, dialogue, journal)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with Journal(path) as journal:
        if arguments.retry_failed:
            journal.forget(_failures(rows, arguments.samples, dialogue, journal))
        facts = {
            "rows_from": str(arguments.data),
            "task": task.name,
            "model": arguments.model,
            "settings": json.dumps(settings),
            "form": "JSON" if arguments.json else "text",
            "label_given": arguments.given_label,
            "samples": arguments.samples,
            "prompt": hashlib.sha256(prompt.model_dump_json().encode()).hexdigest(),
        }
        return _annotate(arguments, rows, count, dialogue, journal, files, facts)


def _annotate(
    arguments: argparse.Namespace,
    rows: Rows,
    count: int,
    dialogue: Dialogue,
    journal: Journal,
    files: ResultFiles,
    facts: dict[str, Any],
) -> int:
    # here, so that --dry-run and --help need no client
    from training.annotation.asking import Asking, Ended
    from training.annotation.budget import Budget, BudgetReached, Prices
    from training.annotation.endpoint import Address, Endpoint
    from training.annotation.pace import Pace
    from training.annotation.progress import Progress

    prices = Prices(*arguments.prices) if arguments.prices else None

    async def ask() -> tuple[Ended, Endpoint, Budget]:
        stopped = asyncio.Event()
        pace = Pace(stopped, arguments.requests_per_minute, arguments.tokens_per_minute)
        address = Address(arguments.base_url, arguments.key, arguments.timeout)
        endpoint = Endpoint(address, pace, stopped, arguments.tries)
        budget = Budget(journal.spent, prices, arguments.budget)
        asking = Asking(arguments.samples, dialogue, journal, endpoint, budget, stopped)
        progress = Progress(count, journal.spent, budget, endpoint)
        waiting = (source.row for source in rows)
        return await asking.ask_all(waiting, progress, arguments.concurrency), endpoint, budget

    ended, endpoint, budget = asyncio.run(ask())
    # here, as it loads scipy, and a run that is killed and started again does not need it
    from training.annotation.report import Tally, counted, write_report

    found = results(rows, rows.task, arguments.samples, dialogue, journal, ended.unanswered)
    tally = Tally(rows.task, arguments.samples, arguments.given_label)
    with files.writing(found) as written:
        counted(written, tally)
    cost = budget.cost
    facts |= asdict(journal.spent) | {
        "cost": None if cost is None else round(cost, 6),
        "endpoint": endpoint.name,
    }
    report = write_report(arguments.out, tally, facts)
    failed = tally.failures.total()
    print(
        f"{tally.annotated} rows annotated, {failed} failed, {tally.not_asked} not asked about",
        *([f"failed rows: {failed_of(arguments.out)}"] if failed else []),
        report,
        sep="\n",
    )
    if ended.signal:
        status, why = 128 + ended.signal, f"stopped; {_go_on(arguments)}"
    elif isinstance(ended.why, BudgetReached):
        status, why = 1, f"the budget ended at a cost of {cost:.4f}; a greater --budget goes on"
    elif ended.why is not None:
        status, why = 2, f"{ended.why}; {_go_on(arguments)}"
    elif ended.unanswered:
        status, why = 1, f"{len(ended.unanswered)} requests went unanswered; {_go_on(arguments)}"
    else:
        return 0
    print(f"teacher: {why}", file=sys.stderr)
    return status


def _go_on(arguments: argparse.Namespace) -> str:
    return f"the same command{', without --retry-failed,' * arguments.retry_failed} goes on"


def _task(arguments: argparse.Namespace) -> tuple[Task, Columns]:
    if arguments.task is not None:
        return TASKS[arguments.task], {}
    config = load_config(arguments.recipe)
    return config.task, {} if isinstance(config.data, DssSource) else config.data.columns


def _failures(rows: Rows, samples: int, dialogue: Dialogue, journal: Journal) -> set[str]:
    return keys_of_failures(results(rows, rows.task, samples, dialogue, journal, {}))


def _print_requests(
    rows: Rows, arguments: argparse.Namespace, dialogue: Dialogue, journal: Journal | None
) -> int:
    """What would be sent next about each row that is not done; what follows depends on answers."""
    retried = set[str]()
    if journal is not None and arguments.retry_failed:
        retried = _failures(rows, arguments.samples, dialogue, journal)

    def answered(key: str) -> Answer | None:
        return None if journal is None or key in retried else journal.get(key)

    for _, following in dialogue.to_ask((s.row for s in rows), arguments.samples, answered):
        for request in following.values():
            print(json.dumps(request.body, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
