"""The figures in the cards of the embedded students are those that the commands measure.

And their answers do not depend on white space.
"""

import json
import re
from pathlib import Path
from statistics import mean
from typing import Any

import httpx2 as httpx
import pytest

from examples.word_problems.operations import main as write_operations
from service.settings import BUNDLES
from tests.support.evaluated_students import evaluated
from tests.support.server_process import ROOT, serve
from training.reports.report import read_evaluation

RECIPES = ROOT / "examples" / "word_problems" / "recipes"
FIXTURES = ROOT / "tests" / "fixtures"
NAMES = ("svamp-numbers", "svamp-operations")


def card_of(name: str) -> str:
    return (BUNDLES / name / "MODEL_CARD.md").read_text(encoding="utf-8")


def served_accuracy(card: str, split: str) -> tuple[int, int, int]:
    """A row of the table "Accuracy as served": rows, and percent right and of the exact text."""
    (cells,) = re.findall(
        rf"^\| (\d+) {split} rows of SVAMP \| (\d+) % \| (\d+) % \| .* \|$", card, re.M
    )
    rows, right, exact = map(int, cells)
    return rows, right, exact


@pytest.fixture
def recipe_of(real_data: Path, tmp_path: Path) -> dict[str, list[Any]]:
    """Each student's rows, by its recipe: of what it was trained on, those held out alone."""
    equations = [
        RECIPES / "svamp-numbers.yaml",
        f"data.path={real_data / 'dss'}",
        "data.train_only=null",
    ]
    folder = tmp_path / "operations"
    arguments = [*map(str, equations), "--out", str(folder)]
    assert write_operations(arguments) == 0
    files = [f"data.{split}={folder / split}.jsonl" for split in ("train", "validation", "test")]
    return {
        "svamp-numbers": equations,
        "svamp-operations": [RECIPES / "svamp-operations.yaml", *files],
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_accuracy_is_that_of_the_card(
    name: str, recipe_of: dict[str, list[Any]], tmp_path: Path
) -> None:
    card = card_of(name)
    for split in ("validation", "test"):
        out = tmp_path / split
        evaluated(out, BUNDLES / name, "--recipe", *recipe_of[name], "--split", split)
        found = read_evaluation(out).evaluation.accuracy
        (told,) = re.findall(
            rf"\| {split} \| accuracy ([0-9.]+),(?: low [0-9.]+, high [0-9.]+,)? "
            r"exact ([0-9.]+), rows (\d+) \|",
            card,
        )
        accuracy, exact, rows = map(float, told)
        assert rows == found.rows
        # int8's sums differ from torch's in the last digits, so a row in a hundred may tip over
        assert found.right.value == pytest.approx(accuracy, abs=0.015)
        assert found.exact.value == pytest.approx(exact, abs=0.025)
        assert served_accuracy(card, split) == (
            found.rows,
            round(100 * found.right.value),
            round(100 * found.exact.value),
        )


def ask(url: str, model: str, texts: list[str], **options: Any) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for start in range(0, len(texts), 32):
        body = {"inputs": texts[start : start + 32], "model": model, **options}
        answers += httpx.post(f"{url}/predict", json=body, timeout=60).raise_for_status().json()
    return answers


def test_they_are_unsure_of_what_is_no_word_problem(tmp_path: Path) -> None:
    texts = (FIXTURES / "off_topic.txt").read_text(encoding="utf-8").splitlines()
    assert len(texts) == len(set(texts)) == 200
    with serve(tmp_path / "log") as server:
        sure = {
            name: mean(answer["confidence"] for answer in ask(server.url, name, texts))
            for name in NAMES
        }
    for name in NAMES:
        (told,) = re.findall(r"mean confidence on them is (0\.\d+)", card_of(name))
        assert round(sure[name], 2) == float(told)
    assert sure["svamp-numbers"] < 0.3


@pytest.mark.parametrize("name", NAMES)
def test_the_ten_problems_are_answered_as_the_card_shows(name: str, tmp_path: Path) -> None:
    lines = (FIXTURES / "fresh_problems.jsonl").read_text(encoding="utf-8").splitlines()
    problems = [json.loads(line) for line in lines]
    with serve(tmp_path / "log") as server:
        answers = ask(server.url, name, [problem["text"] for problem in problems])
    card, right = card_of(name), 0
    for problem, answer in zip(problems, answers, strict=True):
        text = problem["text"].replace("\n", " ")
        if name == "svamp-numbers":
            label, is_right = f"`{answer['label']}`", answer["answer"] == problem["answer"]
        else:
            label, is_right = answer["label"], answer["label"] == problem["operation"]
        right += is_right
        verdict = "right" if is_right else "wrong"
        line = f"| {text} | {label} | {verdict} | {answer['confidence']:.2f} |"
        assert line in card, line
    assert f"{right} of 10 answers are right" in card


@pytest.mark.parametrize("name", NAMES)
def test_white_space_changes_no_answer(name: str, tmp_path: Path) -> None:
    lines = (FIXTURES / "fresh_problems.jsonl").read_text(encoding="utf-8").splitlines()
    problems = [json.loads(line)["text"] for line in lines]
    answers = []
    with serve(tmp_path / "log") as server:
        for space in ("\n", " ", "  ", "\r\n", "\t", "\N{NO-BREAK SPACE}", " \n\n "):
            texts = [problem.replace("\n", space) for problem in problems]
            answers.append(ask(server.url, name, texts, explain=True))
    for some in answers:
        for answer in some:
            for count in ("decoder_steps", "accepted_tokens"):
                del answer["usage"][count]  # which depend on the other inputs in work
    assert len({answer["confidence"] for answer in answers[0]}) == len(problems)
    assert all(some == answers[0] for some in answers)
