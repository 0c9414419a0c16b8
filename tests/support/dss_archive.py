"""Made-up data in the layout of Distilling Step-by-Step's archive, for each of its data sets."""

import json
import random
from collections.abc import Callable
from pathlib import Path

from tasks.builtin import NLI_LABELS
from tests.support.simple_problems import NAMES, THINGS, problem

Made = tuple[dict[str, object], str]  # a row, and the teacher's completion

HYPOTHESES = (
    "{name} has some {things}.",  # in the order of NLI_LABELS
    "{name} bought the {things} in a shop.",
    "{name} has no {things}.",
)


def svamp(rng: random.Random) -> Made:
    made = problem(rng)
    completion = f"{made['rationale']} The answer is {made['label']}.\n\nQ: How many?"
    return {"input": made["input"], "label": made["label"]}, completion


def cqa(rng: random.Random) -> Made:
    name, choices, right = rng.choice(NAMES), rng.sample(THINGS, 5), rng.randrange(5)
    question = f"{name} wants {rng.randrange(2, 99)} {choices[right]}. What does {name} look for?"
    completion = (
        f"The answer must be what {name} wants. "
        f"So the answer is ({'abcde'[right]}) {choices[right]}.\n\nQ: What?"
    )
    return {"question": question, "choices": choices, "answer": choices[right]}, completion


def anli1(rng: random.Random) -> Made:
    row, rationale, label = _pair(rng)
    return row, f"{rationale} So the answer is {label}.\n\nPremise: A"


def esnli(rng: random.Random) -> Made:
    row, rationale, label = _pair(rng)
    return row, f"{rationale}\nAnswer: {label}\n\nPremise: A"


def _pair(rng: random.Random) -> tuple[dict[str, object], str, str]:
    words = {"name": rng.choice(NAMES), "things": rng.choice(THINGS)}
    label = rng.randrange(3)
    row = {
        "premise": "{name} has {count} {things}.".format(count=rng.randrange(2, 99), **words),
        "hypothesis": HYPOTHESES[label].format(**words),
        "label": label,
    }
    return row, "The premise tells what {name} has.".format(**words), NLI_LABELS[label]


MAKERS: dict[str, Callable[[random.Random], Made]] = {
    "esnli": esnli,
    "anli1": anli1,
    "cqa": cqa,
    "svamp": svamp,
}


def write_archive(folder: Path, name: str, splits: dict[str, int]) -> None:
    """Writes the rows of each split of the data set `name` below `folder`.

    `splits` gives their numbers. The first completion of each split does not parse.
    """
    rng = random.Random(0)
    (folder / name / "llm").mkdir(parents=True)
    for split, count in splits.items():
        rows, completions = zip(*(MAKERS[name](rng) for _ in range(count)), strict=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / name / f"{name}_{split}.json").write_text(lines)
        texts = ["I do not know.", *completions[1:]]
        (folder / name / "llm" / f"{split}_CoT_0.json").write_text(json.dumps(texts))
