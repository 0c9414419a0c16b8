"""The command line of `teacher.py`, and the files that it names."""

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.builtin import TASKS


def parse_arguments(description: str | None, argv: list[str] | None) -> argparse.Namespace:
    """The arguments, checked; `key` is from the environment. Exits with 2 where one is wrong."""
    parser = _parser(description)
    arguments = parser.parse_args(argv)
    _check(arguments, parser)
    return arguments


def journal_of(out: Path) -> Path:
    return Path(out.with_suffix(".answers.jsonl"))


def failed_of(out: Path) -> Path:
    return Path(out.with_suffix(".failed.jsonl"))


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="teacher.py",
        description=description,
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
        "--retry-failed", action="store_true", help="ask anew about the rows that failed, too"
    )
    rows.add_argument(
        "--dry-run", action="store_true", help="print each request's body, whole; send nothing"
    )

    teacher = parser.add_argument_group("teacher")
    teacher.add_argument(
        "--base-url",
        metavar="URL",
        default=os.environ.get("OPENAI_BASE_URL"),
        help="ends before /chat/completions; without it, OpenAI's own",
    )
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
        type=_json_object,
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
        "--tries",
        type=int,
        default=8,
        help="of a request that fails in passing, as by a 5xx or a broken answer (default 8)",
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


def _json_object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error})") from error
    if not isinstance(content, dict):
        raise argparse.ArgumentTypeError("expected a JSON object")
    if taken := {"model", "messages", "n", "stream"} & content.keys():
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(taken))} is the teacher's to set")
    return content


def _check(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    out = arguments.out
    if out.suffix != ".jsonl":
        parser.error("--out: expected a file named *.jsonl")
    if arguments.data.resolve() in (
        path.resolve() for path in (out, journal_of(out), failed_of(out))
    ):
        parser.error(
            "--data: would be written over; choose another --out (--retry-failed asks about the "
            "rows that failed)"
        )
    if not arguments.model:
        parser.error("--model: name the teacher, here or in OPENAI_MODEL")
    if arguments.base_url and not _is_url(arguments.base_url):
        parser.error("--base-url: expected an address such as http://127.0.0.1:8000/v1")
    for name in (
        *("limit", "samples", "max_tokens", "concurrency", "timeout", "tries"),
        *("requests_per_minute", "tokens_per_minute", "budget"),
    ):
        if (value := getattr(arguments, name)) is not None and not value > 0:
            parser.error(f"--{name.replace('_', '-')}: expected more than 0")
    if arguments.prices and not all(0 <= price < math.inf for price in arguments.prices):
        parser.error("--prices: expected two numbers that are not below 0")
    if arguments.budget is not None and arguments.prices is None:
        parser.error("--budget: needs --prices")
    if arguments.temperature is None:
        arguments.temperature = 0.0 if arguments.samples == 1 else 0.7
    elif not 0 <= arguments.temperature < math.inf:
        parser.error("--temperature: expected a number that is not below 0")
    elif arguments.samples > 1 and arguments.temperature == 0:
        parser.error("--samples: several are alike at temperature 0")
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key.isascii() or not key.isprintable():
        parser.error("OPENAI_API_KEY: expected characters that a header can hold")
    arguments.key = key or None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port that is none, too
        return False
