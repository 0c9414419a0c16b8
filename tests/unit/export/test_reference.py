"""The plain runner of the graphs."""

from pathlib import Path

import numpy as np
import pytest

from export.reference import NoKernelError, OnnxStudent, pad, until_end
from tests.support.bundles import LIMITS, explanation, reference
from tests.support.tiny_students import KINDS, problems, save_graphs, tiny_student


@pytest.fixture(params=KINDS)
def graphs(request: pytest.FixtureRequest, tmp_path: Path) -> OnnxStudent:
    return save_graphs(tiny_student(request.param), tmp_path)


def test_the_outputs_compared_are_varied(graphs: OnnxStudent) -> None:
    outputs = graphs.generate(problems(40), max_new_tokens=24)
    assert len({tuple(output) for output in outputs}) > 20
    assert len({len(output) for output in outputs}) > 2
    assert len({token for output in outputs for token in output}) > 20


def test_neighbours_and_padding_change_no_output(graphs: OnnxStudent) -> None:
    texts = problems(12)
    alone = [graphs.generate([text], max_new_tokens=16)[0] for text in texts]
    assert graphs.generate(texts, max_new_tokens=16) == alone


def test_caches_are_of_the_graphs_type(tmp_path: Path) -> None:
    assert save_graphs(tiny_student(), tmp_path, "int8").cache_dtype == np.float32
    assert save_graphs(tiny_student(), tmp_path, "fp16").cache_dtype == np.float16


def test_what_the_processor_cannot_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoKernelError, match="NOT_IMPLEMENTED"):
        save_graphs(tiny_student(), tmp_path, "bf16")


def test_rows_are_padded_side_by_side() -> None:
    padded, mask = pad([[5, 6, 1], [7]], pad_id=0)
    assert padded.tolist() == [[5, 6, 1], [7, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_text_ends_with_its_first_end_token() -> None:
    assert until_end([4, 1, 5, 1], eos_id=1) == [4, 1]
    assert until_end([4, 5], eos_id=1) == [4, 5]


def test_the_decoder_prefix_is_read_before_a_text(tmp_path: Path) -> None:
    student = tiny_student()
    graphs = save_graphs(student, tmp_path)
    texts = problems(6)
    prompts = [f"explain: {text}" for text in texts]
    prefixes = [reference(student, text).label.tokens[: 2 + i] for i, text in enumerate(texts)]
    expected = [
        explanation(student, text, read) for text, read in zip(texts, prefixes, strict=True)
    ]
    outputs = graphs.generate(prompts, LIMITS.rationale_tokens, prefixes)
    assert outputs == [until_end(one.tokens, 1) for one in expected]
    assert outputs != graphs.generate(prompts, LIMITS.rationale_tokens)
    sums = [logprobs.sum() for logprobs in graphs.score(prompts, outputs, prefixes)]
    assert sums == pytest.approx([one.logprob for one in expected], rel=1e-3)
