"""What is told of the embedded students is what the commands find."""

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
README = (ROOT / "README.md").read_text(encoding="utf-8")


def figures_of_readme(name: str, split: str) -> list[float]:
    (cells,) = re.findall(
        rf"^\| `{name}` \| \d+ {split} rows, .* \| (\d+) % \| (\d+) % \|$", README, re.M
    )
    return [int(cell) / 100 for cell in cells]


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


@pytest.mark.parametrize("name", ["svamp-numbers", "svamp-operations"])
def test_their_figures_are_those_of_their_cards_and_of_readme(
    name: str, recipe_of: dict[str, list[Any]], tmp_path: Path
) -> None:
    card = (BUNDLES / name / "MODEL_CARD.md").read_text(encoding="utf-8")
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
        assert figures_of_readme(name, split) == [
            round(found.right.value, 2),
            round(found.exact.value, 2),
        ]


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
            for name in ("svamp-numbers", "svamp-operations")
        }
    told = re.findall(r"mean confidence of `([\w-]+)` is (0\.\d+)", README)
    assert {name: round(value, 2) for name, value in sure.items()} == {
        name: float(value) for name, value in told
    }
    assert sure["svamp-numbers"] < 0.3


def test_the_fresh_problems_are_answered_as_readme_says(tmp_path: Path) -> None:
    lines = (FIXTURES / "fresh_problems.jsonl").read_text(encoding="utf-8").splitlines()
    problems = [json.loads(line) for line in lines]
    texts = [problem["text"] for problem in problems]
    with serve(tmp_path / "log") as server:
        answers = ask(server.url, "svamp-numbers", texts)
        operations = ask(server.url, "svamp-operations", texts)
    rows = [
        (
            problem["text"].replace("\n", " "),
            answer["label"],
            "right" if answer["answer"] == problem["answer"] else "wrong",
            f"{answer['confidence']:.2f}",
            operation["label"],
        )
        for problem, answer, operation in zip(problems, answers, operations, strict=True)
    ]
    for text, label, verdict, confidence, operation in rows:
        line = f"| {text} | `{label}` | {verdict} | {confidence} | {operation} |"
        assert line in README, line
