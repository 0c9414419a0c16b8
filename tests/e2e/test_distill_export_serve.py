"""The whole line: a teacher asked, a student really distilled, exported, served, and asked."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tasks.builtin import TASKS
from tasks.equations import evaluate_equation
from tests.support.fake_openai import chatting
from tests.support.fake_teacher import command, lines, program, teach
from tests.support.server_process import ROOT, TIMEOUT, serve
from tests.support.simple_problems import write_problems
from training.distill import main

RECIPE = "tests/support/recipes/word-problems.yaml"
LEARNT = 0.8  # share of held-out labels that are right; guessing one of three signs is far below
REASONED = 0.6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train.jsonl`, labelled and explained by the teacher alone, and other problems to test on."""
    folder = tmp_path_factory.mktemp("data")
    problems = write_problems(folder / "all.jsonl", rows=700, seed=0)
    bare = [{"input": row["input"]} for row in problems[:600]]
    for name, rows in (("bare.jsonl", bare), ("test.jsonl", problems[600:])):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with chatting(teach) as chat:
        run(*program(*command(folder / "bare.jsonl", folder / "train.jsonl", chat.url)))
    assert lines(folder / "train.jsonl") == [
        {
            "input": row["input"],
            "rationale": row["rationale"],
            "teacher_label": row["label"],
            "label_given": False,
        }
        for row in problems[:600]
    ]
    return folder


def data_arguments(data: Path) -> list[str]:
    return [
        f"data.train={data / 'train.jsonl'}",
        "data.labels=teacher",
        f"data.test={data / 'test.jsonl'}",
    ]


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def measured(checkpoint: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((checkpoint / "student.json").read_text(encoding="utf-8"))
    return record["metrics"]["test"]


def test_the_make_targets_give_a_student_that_learnt(data: Path, tmp_path: Path) -> None:
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    printed = run(
        "make",
        "distill",
        "export",
        f"RECIPE={RECIPE}",
        f"CHECKPOINT={checkpoint}",
        f"BUNDLE={bundle}",
        # rationales are longer, and take more steps than labels
        f"ARGS=steps=225 alpha=0.3 {' '.join(data_arguments(data))}",
    )
    assert " loss_mi " in printed
    assert f"next: make evaluate RECIPE={RECIPE} CHECKPOINT={checkpoint} 'ARGS=--recipe " in printed
    assert measured(checkpoint)["accuracy"] >= LEARNT
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["provenance"]["parity"]["rows"] >= 200
    assert manifest["metrics"]["rationales"]["healthy"] >= 0.9
    card = (bundle / "MODEL_CARD.md").read_text()
    assert "Of 100 rationales on validation rows:" in card
    assert "| only a label, or nothing | 0.0 % |" in card

    rows = [json.loads(line) for line in (data / "test.jsonl").read_text().splitlines()]
    with serve(tmp_path / "log", "--models", str(bundle)) as server:
        answers = []
        for start in range(0, len(rows), 20):
            inputs = [row["input"] for row in rows[start : start + 20]]
            body = {"inputs": inputs, "explain": True}
            answers += httpx.post(f"{server.url}/predict", json=body, timeout=TIMEOUT).json()
    right = [
        TASKS["svamp"].is_right(answer["label"], row["label"])
        for answer, row in zip(answers, rows, strict=True)
    ]
    assert sum(right) / len(right) == measured(checkpoint)["accuracy"]
    for answer in answers:
        assert answer["model"] == "word-problems"
        assert answer["answer"] == evaluate_equation(answer["label"])
        assert 0 < answer["confidence"] <= 1
    # the teacher's words up to the result: sums are more than so small a student learns
    reasoned = [
        answer["rationale"].partition(" = ")[0] == row["rationale"].partition(" = ")[0]
        for answer, row in zip(answers, rows, strict=True)
    ]
    assert sum(reasoned) / len(reasoned) >= REASONED


@pytest.mark.parametrize("objective", ["finetune", "dss"])
def test_the_other_objectives_learn_too(data: Path, tmp_path: Path, objective: str) -> None:
    arguments = [f"objective={objective}", f"output_dir={tmp_path}", *data_arguments(data)]
    assert main([RECIPE, *arguments]) == 0
    assert measured(tmp_path)["accuracy"] >= LEARNT
