"""The command against an endpoint on loopback: what it asks and what it writes."""

import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.support.fake_openai import Reply, chatting, said
from tests.support.fake_teacher import (
    MUTE,
    Row,
    annotated,
    ask,
    asked,
    command,
    failed,
    lines,
    problem_of,
    report,
    solved,
    teach,
)
from tests.support.server_process import TIMEOUT
from tests.support.simple_problems import write_problems
from training import teacher
from training.config import load_config
from training.data.splits import load_splits


def test_rows_are_annotated_once(
    out: Path, problems: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    together = threading.Barrier(3, timeout=TIMEOUT)

    def respond(body: Row, number: int) -> Reply:
        if number < 3:
            together.wait()
        return teach(body)

    with chatting(respond) as chat:
        assert ask(out, chat, "--concurrency", "3") == 0
        printed = capsys.readouterr()
        assert lines(out) == [annotated(row) for row in problems]
        assert failed(out) == []
        assert printed.out.splitlines() == [
            "30 rows annotated, 0 failed, 0 not asked about",
            str(out.with_suffix(".report.md")),
        ]
        assert "30/30 [" in printed.err
        assert asked(chat) == {row["input"]: 1 for row in problems}
        assert chat.most_at_once == 3
        assert report(out)["agreement_with_gold"]["share"] == 1
        before = out.read_bytes()
        assert ask(out, chat) == 0
        assert (len(chat.requests), out.read_bytes()) == (30, before)


def test_another_prompt_or_setting_asks_anew_and_the_old_answers_stay(
    out: Path, problems: list[Row]
) -> None:
    with chatting(teach) as chat:
        for arguments, requests in (
            ([], 5),
            (["--temperature", "0.5"], 10),
            (["--max-tokens", "99"], 15),
            (["--body", '{"top_p": 0.9}'], 20),
            (["--json"], 25),
            (["--model", "n"], 30),
            (["--given-label"], 35),
            (["--samples", "2", "--temperature", "0.5"], 40),  # the first sample is there
            (["--samples", "2"], 50),
            ([], 50),
            (["--json"], 50),
        ):
            assert ask(out, chat, "--limit", "5", *arguments) == 0
            assert len(chat.requests) == requests, arguments


def test_failures_go_to_a_side_file_and_are_asked_again_alone(
    out: Path, problems: list[Row]
) -> None:
    stubborn = {row["input"] for row in problems[3:6]}

    def respond(body: Row, number: int) -> Reply:
        return MUTE if problem_of(body)["input"] in stubborn else teach(body)

    reason = 'answer without a line that begins with "Answer:"'
    with chatting(respond) as chat:
        assert ask(out, chat) == 0
        assert failed(out) == [
            row | {"failed": {"reason": reason, "answer": "I had rather not say."}}
            for row in problems[3:6]
        ]
        assert [row["input"] for row in lines(out)] == [
            row["input"] for row in problems[:3] + problems[6:]
        ]
        assert report(out)["failures"] == {reason: 3}
        assert len(chat.requests) == 33
        assert ask(out, chat) == 0
        assert len(chat.requests) == 33
        stubborn.clear()
        assert ask(out, chat, "--retry-failed") == 0
        asked = [problem_of(body)["input"] for body in chat.requests[33:]]  # in any order, at once
        assert sorted(asked) == sorted(row["input"] for row in problems[3:6])
        assert lines(out) == [annotated(row) for row in problems]
        assert failed(out) == []
        assert report(out)["run"]["requests"] == 36  # all that was paid for
        assert ask(out, chat, "--retry-failed") == 0
        assert len(chat.requests) == 36


def test_the_side_file_is_one_of_rows(out: Path, problems: list[Row], tmp_path: Path) -> None:
    def respond(body: Row, number: int) -> Reply:
        long = problem_of(body)["input"] == problems[7]["input"] and body["max_tokens"] < 1000
        return said("Let me", finish_reason="length") if long else teach(body)

    with chatting(respond) as chat:
        assert ask(out, chat) == 0
        side = out.with_suffix(".failed.jsonl")
        again = command(side, tmp_path / "more.jsonl", chat.url, "--max-tokens", "2000")
        assert teacher.main(again) == 0
    assert lines(tmp_path / "more.jsonl") == [annotated(problems[7])]


def test_a_repaired_answer_counts_as_any(out: Path, problems: list[Row]) -> None:
    def respond(body: Row, number: int) -> Reply:
        told = "This cannot be used" in body["messages"][-1]["content"]
        return teach(body) if told else MUTE

    with chatting(respond) as chat:
        assert ask(out, chat) == 0
        assert asked(chat) == {row["input"]: 2 for row in problems}
    assert lines(out) == [annotated(row) for row in problems]
    assert report(out)["repaired"] == 30


def test_samples_vote(out: Path, problems: list[Row]) -> None:
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def respond(body: Row, number: int) -> Reply:
        row = problem_of(body)
        with lock:
            seen[row["input"]] += 1
            turn = seen[row["input"]]
        # the third is wrong, and a fourth that is right says the same as the first
        text = {3: "Wrong.\nAnswer: 99 * 99", 2: f"Thus.\nAnswer: {row['label']}"}.get(turn)
        return said(text or solved(body))

    with chatting(respond) as chat:
        few = ("--samples", "4", "--limit", "8")
        assert ask(out, chat, *few, "--concurrency", "1") == 0
        assert len(chat.requests) == 32
        assert chat.requests[0]["temperature"] == 0.7
        assert ask(out, chat, *few) == 0
        assert len(chat.requests) == 32
    assert lines(out) == [
        annotated(row, agreement=0.75, rationale=[row["rationale"], "Thus."])
        for row in problems[:8]
    ]
    [told] = report(out)["agreement_among_samples"]
    assert (told["agreement"], told["rows"], told["right"]["share"]) == (0.75, 8, 1)


def test_a_given_label_is_marked(out: Path, problems: list[Row]) -> None:
    with chatting(teach) as chat:
        assert ask(out, chat, "--given-label") == 0
        question = chat.requests[0]["messages"][-1]["content"]
        assert f"known to be: {problem_of(chat.requests[0])['label']}" in question
    for row, source in zip(lines(out), problems, strict=True):
        assert row == source | {"label_given": True}
    assert report(out)["agreement_with_gold"] is None


def test_answers_in_json(out: Path, problems: list[Row]) -> None:
    with chatting(teach) as chat:
        assert ask(out, chat, "--json") == 0
        assert chat.requests[0]["response_format"]["type"] == "json_schema"
    assert lines(out) == [annotated(row) for row in problems]


def test_rows_that_read_the_same_are_paid_for_once(out: Path, tmp_path: Path) -> None:
    rows = write_problems(tmp_path / "rows.jsonl", rows=5, seed=0)
    content = (tmp_path / "rows.jsonl").read_text()
    (tmp_path / "rows.jsonl").write_text(content * 3)
    with chatting(teach) as chat:
        assert ask(out, chat) == 0
        assert asked(chat) == {row["input"]: 1 for row in rows}
    assert lines(out) == [annotated(row) for row in rows] * 3


RECIPE = """
name: tone
task:
  name: tone
  fields: [review]
  template: "{{review}}"
  labels: [good, bad]
data:
  format: jsonl
  train: OUT
  labels: teacher
  columns: {review: body, label: gold, teacher_label: llm_answer, rationale: why}
  filters: {teacher_correct: row}
model: {scratch: {vocab_size: 301, d_model: 8, d_kv: 8, d_ff: 8, num_layers: 1,
  num_decoder_layers: 1, num_heads: 1}}
license: apache-2.0
validation_rows: 2
output_dir: runs/tone
"""
PROMPT = """
instructions: You judge reviews.
question: "Review: {{ review }}"
"""


def test_a_task_of_ones_own_goes_from_csv_to_what_distil_reads(out: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        "id,body,gold\n" + "".join(f"{n},Review {n},{('bad', 'good')[n % 2]}\n" for n in range(9))
    )
    recipe, prompt = tmp_path / "recipe.yaml", tmp_path / "prompt.yaml"
    recipe.write_text(RECIPE.replace("OUT", str(out)))
    prompt.write_text(PROMPT)

    def respond(body: Row, number: int) -> Reply:
        review = body["messages"][-1]["content"].removeprefix("Review: ")
        return said(f"{review} says so.\nAnswer: {'Good' if '3' in review else 'bad'}")

    with chatting(respond) as chat:
        arguments = ["--data", str(tmp_path / "rows.csv"), "--recipe", str(recipe)]
        arguments += ["--prompt", str(prompt), "--out", str(out)]
        assert teacher.main([*arguments, "--base-url", chat.url, "--model", "m"]) == 0
    assert lines(out)[3] == {
        "id": "3",
        "body": "Review 3",
        "gold": "good",
        "llm_answer": "good",
        "why": "Review 3 says so.",
        "label_given": False,
    }
    splits = load_splits(load_config(recipe))
    examples = splits.train + splits.validation
    assert {example.label for example in examples} == {"bad", "good"}
    assert all(example.rationale for example in examples)
    assert len(splits.train) < 7  # the filter dropped those of which the teacher is wrong
    assert report(out)["agreement_with_gold_by_label"]["good"]["rows"] == 4
