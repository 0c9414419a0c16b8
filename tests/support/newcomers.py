"""Files that newcomers come with: columns of all kinds, some cells empty, a text on several lines.

Each has rows to train on and rows to measure on.
"""

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

Row = dict[str, Any]
DAYS = ("Monday", "Tuesday", "Friday", "Saturday")

# (mail, reason) by the team of a library that answers it
MAILS = {
    "loans": (
        ("I would like to renew {book} for {n} more weeks", "A book is to be kept longer."),
        ("please reserve {book} for me until {day}", "A reservation is asked for."),
    ),
    "fees": (
        ("I was charged {n} euros for {book}", "A charge is in doubt."),
        ("can I pay my fine of {n} euros in two parts", "It is about paying a fine."),
    ),
    "website": (
        ("the catalogue shows an error when I search for {book}", "A page shows an error."),
        ("I cannot log in since {day}", "The log-in does not work."),
    ),
    "building": (
        ("the heating in room {n} was off on {day}", "Something in a room does not work."),
        ("the lift to floor {n} is stuck since {day}", "The lift is a part of the house."),
    ),
}
BOOKS = ("Emma", "the atlas of birds", "Middlemarch", "a book on bees", "the city guide")
OPENINGS = ("Hello,\n\n", "Dear team, ", "Good morning. ", "")


def mail(rng: random.Random, number: int) -> Row:
    """A closed label, four of them; no label in a few rows, no reason in some."""
    team = rng.choice(list(MAILS))
    text, reason = rng.choice(MAILS[team])
    text = text.format(book=rng.choice(BOOKS), n=rng.randrange(2, 40), day=rng.choice(DAYS))
    return {
        "mail_id": f"M-{10000 + number}",
        "received_at": f"2026-03-{1 + number % 28:02}T{number % 24:02}:10:00",
        "lang": "en",
        "message": rng.choice(OPENINGS) + text + rng.choice((".", "!", ". Thanks, Ines")),
        "team": "" if number % 61 == 7 else team,
        "reason": "" if number % 17 == 5 else reason,
    }


FOODS = ("carrot", "flour", "olive oil", "lemon", "honey", "basil", "rice", "garlic")
UNITS = ("g", "kg", "ml", "cups")
STATES = ("chopped", "peeled", "for frying", "to taste")


def ingredient(rng: random.Random, number: int) -> Row:
    """An open label: what to buy, of a line of a cooking recipe."""
    food, state = rng.choice(FOODS), rng.choice(STATES)
    amount = f"{rng.choice((1, 2, 3, 250, 500))} {rng.choice(UNITS)}"
    line = rng.choice((f"{amount} {food}, {state}", f"{food}: {amount}, {state}"))
    why = f"'{state}' says how it is prepared, so {food} is what to buy."
    return {"source": f"scan-{number}", "line": line, "order": f"{food}; {amount}", "why": why}


PEOPLE = ("Lea", "Jonas", "Mira", "Paul", "Ana", "Ravi")
ACTIONS = {"bought": "sold", "opened": "closed", "praised": "blamed"}
THINGS = ("the shop", "the flat", "the garden", "the museum")


def claim(rng: random.Random, number: int) -> Row:
    """Two fields, and one of three closed labels."""
    who, (did, undid) = rng.choice(PEOPLE), rng.choice([*ACTIONS.items()])
    thing, day = rng.choice(THINGS), rng.choice(DAYS)
    verdict = rng.choice(("supported", "refuted", "not enough information"))
    text, reason = {
        "supported": (f"{who} {did} {thing}.", f"The text says that {who} {did} {thing}."),
        "refuted": (f"{who} {undid} {thing}.", f"The text says {did}, not {undid}."),
        "not enough information": (f"{who} was happy about {thing}.", "It names no feelings."),
    }[verdict]
    return {
        "id": number,
        "evidence": f"On {day}, {who} {did} {thing}{rng.choice((' alone', ' after work', ''))}.",
        "claim": text,
        "verdict": verdict,
        "explanation": reason,
        "annotator": f"a{number % 3}",
    }


def write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_json_lines(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: list[Row]) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def write_files(
    folder: Path,
    make: Callable[[random.Random, int], Row],
    write: Callable[[Path, list[Row]], None],
    suffix: str,
    rows: int,
) -> tuple[Path, Path]:
    """A file of so many rows, and a file of 100 more to measure on."""
    rng = random.Random(3)
    made = [make(rng, number) for number in range(rows + 100)]
    files = folder / f"rows{suffix}", folder / f"kept{suffix}"
    for path, part in zip(files, (made[:rows], made[rows:]), strict=True):
        write(path, part)
    return files
