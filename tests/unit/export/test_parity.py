"""The parity gate: what it measures, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

from export.parity import OnnxStudent, ParityError, Voice, check_parity, is_near_tie
from tests.students import KINDS, Student, problems, save_graphs, tiny_student

VOICES = [Voice("predict: ", 8), Voice("explain: ", 24)]


@pytest.fixture(params=KINDS)
def student(request: pytest.FixtureRequest) -> Student:
    return tiny_student(request.param)


@pytest.fixture
def graphs(student: Student, tmp_path: Path) -> OnnxStudent:
    return save_graphs(student, tmp_path)


def test_the_graphs_of_a_student_pass(student: Student, graphs: OnnxStudent) -> None:
    texts = problems(40)
    assert len({len(row) for row in graphs.tokens(texts)}) > 10  # so the batches are padded
    parity = check_parity(student.model, student.tokenizer, graphs, texts, VOICES)
    assert (parity.rows, parity.outputs) == (40, 80)
    assert parity.equal + parity.near_ties == 80
    assert 0 < parity.max_logprob_difference < 1e-4


def test_the_outputs_compared_are_varied(graphs: OnnxStudent) -> None:
    outputs = graphs.generate(problems(40), max_new_tokens=24)
    assert len({tuple(output) for output in outputs}) > 20
    assert len({len(output) for output in outputs}) > 2
    assert len({token for output in outputs for token in output}) > 20


def test_neighbours_and_padding_change_no_output(graphs: OnnxStudent) -> None:
    texts = problems(12)
    alone = [graphs.generate([text], max_new_tokens=16)[0] for text in texts]
    assert graphs.generate(texts, max_new_tokens=16) == alone


def test_another_weight_is_refused(student: Student, graphs: OnnxStudent) -> None:
    with torch.no_grad():
        student.model.encoder.block[1].layer[1].DenseReluDense.wo.weight[0] += 1.0
    with pytest.raises(ParityError, match=r"\d+ of 80 greedy outputs differ.*'predict: .*the gr"):
        check_parity(student.model, student.tokenizer, graphs, problems(40), VOICES)


def test_a_weight_that_shows_in_the_log_probabilities_alone_is_refused(
    student: Student, graphs: OnnxStudent
) -> None:
    with torch.no_grad():
        student.model.decoder.final_layer_norm.weight *= 1.001
    with pytest.raises(ParityError, match=r"log-probabilities differ by up to 0\.00"):
        check_parity(student.model, student.tokenizer, graphs, problems(40), VOICES)


def test_another_tokenizer_is_refused(student: Student, graphs: OnnxStudent) -> None:
    student.tokenizer.backend_tokenizer.normalizer = None
    with pytest.raises(ParityError, match=r"the tokens of .* to the bundle's tokenizer.json"):
        check_parity(student.model, student.tokenizer, graphs, ["cafe\u0301"], VOICES)


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
    texts, voice = problems(40), Voice("predict: ", 1)
    first = save_graphs(student, tmp_path).generate(["predict: " + text for text in texts], 1)
    token = next(row[0] for row in first if row[0] > 5)
    weights = student.model.lm_head.weight
    with torch.no_grad():
        weights[token - 1] = weights[token]
        graphs = save_graphs(student, tmp_path)
        weights[token] *= 1 + 2e-6
    parity = check_parity(student.model, student.tokenizer, graphs, texts, [voice])
    assert parity.near_ties > 0
    assert parity.near_ties + parity.equal == 40
