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
from pathlib import Path
from typing import Any

from training.annotation.dialogue import Dialogue, Failure, Request
from training.annotation.journal import Journal, JournalError
from training.annotation.prompt import load_prompt
from training.annotation.results import ResultFiles, results
from training.annotation.rows import Rows
from training.config import ConfigError, load_config
from training.data import DataError
from training.sources import Columns, DssSource
from training.tasks import TASKS, Task


def main(argv: list[str] | None = None) -> int:
    parser = _parser()
    arguments = parser.parse_args(argv)
    _check(arguments, parser)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for every request
    try:
        return _run(arguments)
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
        print("teacher: stopped; the same command goes on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="teacher.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rows = parser.add_argument_group("rows")
    rows.add_argument(
        "--data", type=Path, metavar="FILE", required=True, help="JSON lines, CSV or Parquet"
    )
    task = rows.add_mutually_exclusive_group(required=True)
    task.add_argument("--task", choices=list(TASKS), help="a built-in task")
    task.add_argument(
        "--recipe", type=Path, help="a recipe, whose `task` and `data.columns` are taken"
    )
    rows.add_argument("--out", type=Path, metavar="OUT.jsonl", required=True)
    rows.add_argument("--limit", type=int, metavar="N", help="only the first N rows")
    rows.add_argument(
        "--retry-failed", action="store_true", help="ask once more about the rows that failed"
    )
    rows.add_argument(
        "--dry-run", action="store_true", help="print each request's body, whole; send nothing"
    )

    teacher = parser.add_argument_group("teacher")
    teacher.add_argument("--base-url", metavar="URL", help="ends before /chat/completions")
    teacher.add_argument("--model", default=os.environ.get("OPENAI_MODEL"))
    teacher.add_argument(
        "--prompt", type=Path, metavar="FILE.yaml", help="in place of the task's own"
    )
    teacher.add_argument(
        "--given-label",
        action="store_true",
        help="tell the row's label, and ask for its rationale alone; marked in OUT.jsonl",
    )
    teacher.add_argument(
        "--samples", type=int, default=1, metavar="N", help="answers a row, which vote (default 1)"
    )
    teacher.add_argument("--temperature", type=float, help="default 0, or 0.7 for several samples")
    teacher.add_argument("--max-tokens", type=int, default=512, help="of an answer (default 512)")
    teacher.add_argument(
        "--json", action="store_true", help="ask for JSON by a schema, where the endpoint can"
    )
    teacher.add_argument(
        "--body",
        type=json.loads,
        default={},
        metavar="JSON",
        help="an object laid over each request's body; null leaves a key out",
    )

    limits = parser.add_argument_group("limits")
    limits.add_argument("--concurrency", type=int, default=8, help="requests at a time (default 8)")
    limits.add_argument("--requests-per-minute", type=float)
    limits.add_argument("--tokens-per-minute", type=float)
    limits.add_argument(
        "--timeout", type=float, default=120, help="seconds, of a request (default 120)"
    )
    limits.add_argument(
        "--prices",
        type=float,
        nargs=2,
        metavar=("INPUT", "OUTPUT"),
        help="of a million tokens, in your own money",
    )
    limits.add_argument(
        "--budget", type=float, help="the most that OUT's answers may cost, in the same money"
    )
    return parser


def _check(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if arguments.out.suffix != ".jsonl":
        parser.error("--out: expected a file named *.jsonl")
    if arguments.out.resolve() == arguments.data.resolve():
        parser.error("--out: would replace --data; choose another file")
    if not arguments.model:
        parser.error("--model: name the teacher, here or in OPENAI_MODEL")
    for name in ("limit", "samples", "max_tokens", "concurrency", "timeout"):
        if (value := getattr(arguments, name)) is not None and not value > 0:
            parser.error(f"--{name.replace('_', '-')}: expected more than 0")
    for name in ("requests_per_minute", "tokens_per_minute", "budget"):
        if (value := getattr(arguments, name)) is not None and not value > 0:
            parser.error(f"--{name.replace('_', '-')}: expected more than 0")
    if arguments.prices and min(arguments.prices) < 0:
        parser.error("--prices: expected two that are not below 0")
    if arguments.budget is not None and arguments.prices is None:
        parser.error("--budget: needs --prices")
    if not isinstance(arguments.body, dict):
        parser.error("--body: expected a JSON object")
    if arguments.temperature is None:
        arguments.temperature = 0.0 if arguments.samples == 1 else 0.7
    elif arguments.samples > 1 and arguments.temperature <= 0:
        parser.error("--samples: several are alike at temperature 0")


def _run(arguments: argparse.Namespace) -> int:
    task, columns = _task(arguments)
    prompt = load_prompt(task, arguments.prompt)
    rows = Rows(arguments.data, task, columns, arguments.given_label, arguments.limit)
    body = {"temperature": arguments.temperature, "max_tokens": arguments.max_tokens}
    settings = {k: v for k, v in (body | arguments.body).items() if v is not None}
    dialogue = Dialogue(
        task,
        prompt,
        arguments.model,
        settings,
        as_json=arguments.json,
        given_label=arguments.given_label,
    )
    count = sum(1 for _ in rows)  # all are looked at before any is asked about
    if not count:
        raise DataError(f"{arguments.data}: no row can be asked about")
    if arguments.dry_run:
        return _print_requests(rows, arguments, dialogue)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    with Journal(_journal_path(arguments)) as journal:
        if arguments.retry_failed:
            _forget_failures(rows, arguments.samples, dialogue, journal)
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
        return _annotate(arguments, rows, count, dialogue, journal, facts)


def _annotate(
    arguments: argparse.Namespace,
    rows: Rows,
    count: int,
    dialogue: Dialogue,
    journal: Journal,
    facts: dict[str, Any],
) -> int:
    # here, so that --dry-run and --help need no client
    from training.annotation.asking import ask_all
    from training.annotation.budget import Budget, BudgetReached, Prices
    from training.annotation.endpoint import Address, Endpoint
    from training.annotation.pace import Pace
    from training.annotation.report import Tally, counted, write_report

    async def ask() -> tuple[Any, Budget, str]:
        stopped = asyncio.Event()
        key = os.environ.get("OPENAI_API_KEY")
        pace = Pace(stopped, arguments.requests_per_minute, arguments.tokens_per_minute)
        endpoint = Endpoint(Address(arguments.base_url, key, arguments.timeout), pace, stopped)
        prices = Prices(*arguments.prices) if arguments.prices else None
        budget = Budget(journal.spent, prices, arguments.budget)
        ended = await ask_all(
            (source.row for source in rows),
            count,
            arguments.samples,
            arguments.concurrency,
            dialogue,
            journal,
            endpoint,
            budget,
            stopped,
        )
        return ended, budget, endpoint.name

    ended, budget, name = asyncio.run(ask())
    found = results(rows, rows.task, arguments.samples, dialogue, journal, ended.unanswered)
    files = ResultFiles(
        arguments.out, rows.columns, arguments.samples, label_given=arguments.given_label
    )
    tally = Tally(rows.task, arguments.samples, arguments.given_label)
    with files.writing(found) as written:
        counted(written, tally)
    spent = journal.spent
    facts |= {
        "endpoint": name,
        "requests": spent.requests,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
        "tokens_guessed": spent.tokens_guessed,
        "cost": None if budget.cost is None else round(budget.cost, 6),
    }
    report = write_report(arguments.out, tally, facts)
    failed = tally.failures.total()
    print(
        f"{tally.annotated} rows annotated, {failed} failed, {tally.not_asked} not asked about",
        *([f"failed rows: {files.failed_path}"] if failed else []),
        report,
        sep="\n",
    )
    if ended.signal:
        print("teacher: stopped; the same command goes on", file=sys.stderr)
        return 128 + ended.signal
    if isinstance(ended.why, BudgetReached):
        print(
            f"teacher: the budget ended at a cost of {budget.cost:.4f}; a greater --budget goes on",
            file=sys.stderr,
        )
        return 1
    if ended.why is not None:
        print(f"teacher: {ended.why}; the same command goes on", file=sys.stderr)
        return 2
    return 1 if ended.unanswered else 0


def _task(arguments: argparse.Namespace) -> tuple[Task, Columns]:
    if arguments.task is not None:
        return TASKS[arguments.task], {}
    config = load_config(arguments.recipe)
    return config.task, {} if isinstance(config.data, DssSource) else config.data.columns


def _journal_path(arguments: argparse.Namespace) -> Path:
    return Path(arguments.out.with_suffix(".answers.jsonl"))


def _print_requests(rows: Rows, arguments: argparse.Namespace, dialogue: Dialogue) -> int:
    """What would be sent first about each row that has no answer yet; a repair depends on it."""
    path = _journal_path(arguments)
    if not path.exists():
        return _print_each(rows, arguments.samples, dialogue, None)
    with Journal(path) as journal:
        return _print_each(rows, arguments.samples, dialogue, journal)


def _print_each(rows: Rows, samples: int, dialogue: Dialogue, journal: Journal | None) -> int:
    for source in rows:
        for sample in range(samples):
            answered = (lambda key: None) if journal is None else journal.get
            last = dialogue.steps(source.row, sample, answered)[-1]
            if isinstance(last, Request):
                print(json.dumps(last.body, ensure_ascii=False))
    return 0


def _forget_failures(rows: Rows, samples: int, dialogue: Dialogue, journal: Journal) -> None:
    for source in rows:
        for sample in range(samples):
            *asked, last = dialogue.steps(source.row, sample, journal.get)
            if isinstance(last, Failure):
                journal.forget([step.key for step in asked if isinstance(step, Request)])


if __name__ == "__main__":
    sys.exit(main())
