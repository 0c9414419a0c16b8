"""The parity gate: what it measures, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.bundle import Precision
from export.parity import (
    LabelParity,
    OutputPair,
    ParityError,
    check_labels,
    check_parity,
    is_near_tie,
)
from export.reference import OnnxStudent
from tasks.builtin import TASKS
from tasks.placeholders import Codec
from tests.support.tiny_students import (
    KINDS,
    Student,
    answers,
    learned_student,
    problems,
    save_graphs,
    tiny_student,
)
from training.student.files import StudentPass

PASSES = [StudentPass("predict: ", 8), StudentPass("explain: ", 24)]


@pytest.fixture(params=KINDS)
def student(request: pytest.FixtureRequest) -> Student:
    return tiny_student(request.param)


@pytest.fixture
def graphs(student: Student, tmp_path: Path) -> OnnxStudent:
    return save_graphs(student, tmp_path)


@pytest.mark.parametrize("explain_given_label", [False, True])
def test_the_graphs_of_a_student_pass(
    student: Student, graphs: OnnxStudent, explain_given_label: bool
) -> None:
    texts = problems(40)
    assert len({len(row) for row in graphs.tokens(texts)}) > 10  # so the batches are padded
    parity = check_parity(
        student.model, student.tokenizer, graphs, texts, PASSES, explain_given_label
    )
    assert (parity.rows, parity.outputs) == (40, 80)
    assert parity.equal + parity.near_ties == 80
    assert 0 < parity.max_logprob_difference < 1e-4


def test_another_weight_is_refused(student: Student, graphs: OnnxStudent) -> None:
    with torch.no_grad():
        student.model.encoder.block[1].layer[1].DenseReluDense.wo.weight[0] += 1.0
    with pytest.raises(ParityError, match=r"\d+ of 80 greedy outputs differ.*'predict: .*the gr"):
        check_parity(student.model, student.tokenizer, graphs, problems(40), PASSES)


def test_a_weight_that_shows_in_the_log_probabilities_alone_is_refused(
    student: Student, graphs: OnnxStudent
) -> None:
    with torch.no_grad():
        student.model.decoder.final_layer_norm.weight *= 1.001
    with pytest.raises(ParityError, match=r"log-probabilities differ by up to 0\.00"):
        check_parity(student.model, student.tokenizer, graphs, problems(40), PASSES)


def test_another_tokenizer_is_refused(student: Student, graphs: OnnxStudent) -> None:
    student.tokenizer.backend_tokenizer.normalizer = None
    with pytest.raises(ParityError, match=r"the tokens of .* in the bundle's tokenizer.json"):
        check_parity(student.model, student.tokenizer, graphs, ["cafe\u0301"], PASSES)


@pytest.mark.parametrize(
    ("ours", "gap", "tie"),
    [
        ([5, 7, 1], 0.5e-4, True),
        ([5, 7, 1], 2e-4, False),
        ([5, 7, 9, 9], 0.5e-4, True),  # after the tie the two go on apart
        ([6, 7], 0.5e-4, False),  # the first difference counts, and it is none of the tie
    ],
)
def test_near_ties(ours: list[int], gap: float, tie: bool) -> None:
    logprobs = np.full((3, 10), -9.0)
    logprobs[0, 5], logprobs[1, 2], logprobs[2, 1] = -0.1, -0.7, -0.1
    logprobs[1, 7] = logprobs[1, 2] - gap
    assert is_near_tie(ours, [5, 2, 1], logprobs) is tie


def test_near_ties_are_counted_not_refused(student: Student, tmp_path: Path) -> None:
    """Of two tokens with the same weights the graphs choose the lower. A touch makes transformers
    choose the other."""
    texts, predict = problems(40), StudentPass("predict: ", 1)
    first = save_graphs(student, tmp_path).generate(["predict: " + text for text in texts], 1)
    token = next(row[0] for row in first if row[0] > 5)
    weights = student.model.lm_head.weight
    with torch.no_grad():
        weights[token - 1] = weights[token]
        graphs = save_graphs(student, tmp_path)
        weights[token] *= 1 + 2e-6
    parity = check_parity(student.model, student.tokenizer, graphs, texts, [predict])
    assert parity.near_ties > 0
    assert parity.near_ties + parity.equal == 40


@pytest.fixture(scope="module")
def learned() -> Student:
    return learned_student()


def labelled(count: int = 20) -> list[tuple[str, str]]:
    return [(text, label) for text, (label, _) in zip(problems(count), answers(count), strict=True)]


def check(student: Student, graphs: OnnxStudent, rows: list[tuple[str, str]]) -> LabelParity:
    predict, explain = StudentPass("predict: ", 16), StudentPass("explain: ", 24)
    read = [(Codec(text), label) for text, label in rows]
    return check_labels(
        student.model, student.tokenizer, graphs, TASKS["svamp"], read, [predict, explain]
    )


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_student_that_is_sure_passes_in_lower_precisions(
    learned: Student, precision: Precision, tmp_path: Path
) -> None:
    parity = check(learned, save_graphs(learned, tmp_path, precision), labelled())
    assert (parity.rows, parity.equal_labels) == (20, 20)
    assert (parity.accuracy, parity.reference_accuracy) == (1.0, 1.0)
    assert parity.equal_rationales >= 18
    assert 0 < parity.max_logprob_difference < 0.5  # so another precision it was, but not far
    assert (parity.least_equal_labels, parity.most_accuracy_lost) == (0.99, 0.005)


def test_accuracy_is_against_the_rows_own_labels(learned: Student, tmp_path: Path) -> None:
    rows = labelled()
    rows[0] = (rows[0][0], "( 1 + 1 )")
    rows[1] = (rows[1][0], "5")  # the value of what the student says: ( 4 + 1 )
    parity = check(learned, save_graphs(learned, tmp_path, "int8"), rows)
    assert (parity.accuracy, parity.reference_accuracy) == (0.95, 0.95)


def test_a_student_that_is_not_sure_is_refused_in_int8(student: Student, tmp_path: Path) -> None:
    graphs = save_graphs(student, tmp_path, "int8")
    with pytest.raises(ParityError, match=r"\d+ of 20 labels differ, but 99% must be equal; the f"):
        check(student, graphs, labelled())


def stub_comparison(monkeypatch: pytest.MonkeyPatch, ours: list[str], theirs: list[str]) -> None:
    """Has both passes give given texts, whose tokens are their characters."""
    outputs = [
        OutputPair("", list(map(ord, mine)), list(map(ord, other)), False, 0.0)
        for mine, other in zip(ours, theirs, strict=True)
    ]
    monkeypatch.setattr("export.parity.compare", lambda *_: iter(outputs))


class Characters:
    def text(self, tokens: list[int]) -> str:
        return "".join(map(chr, tokens))


@pytest.mark.parametrize(
    ("ours", "message"),
    [
        (["1 + 1"] * 199 + ["2"], None),  # another text of the same value: equal labels 99.5 %
        (["1 + 1"] * 198 + ["2", "2"], None),  # 99 %, no less
        (["1 + 1"] * 197 + ["2", "2", "2"], "3 of 200 labels differ"),
        (["1 + 1"] * 199 + ["3"], None),  # half a point of accuracy, no more
        (["1 + 1"] * 198 + ["3", "3"], "198 of 200 labels are right, but 200 of transformers'"),
        (["1 + 1"] * 198 + ["2", "3"], None),
    ],
)
def test_the_bounds_of_the_lower_precisions(
    ours: list[str], message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_comparison(monkeypatch, ours, theirs=["1 + 1"] * 200)
    rows = [(Codec(""), "2")] * 200
    arguments: Any = (None, None, Characters(), TASKS["svamp"], rows, [None, None])
    if message is None:
        assert check_labels(*arguments).rows == 200
    else:
        with pytest.raises(ParityError, match=message):
            check_labels(*arguments)
