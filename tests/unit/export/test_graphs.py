"""Both graphs against transformers, with random weights."""

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.bundle import DECODER, Precision
from export.reference import OnnxStudent, pad
from tests.support.graph_decoder import (
    SHAPES,
    WIDTH,
    Decoder,
    logprobs,
    random_tokens,
)
from tests.support.tiny_students import Student, save_graphs, tiny_student


@pytest.fixture(scope="module", params=SHAPES)
def student(request: pytest.FixtureRequest) -> Student:
    return tiny_student(**SHAPES[request.param])


@pytest.fixture(scope="module")
def folder(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def graphs(student: Student, folder: Path) -> OnnxStudent:
    return save_graphs(student, folder)


def test_names_and_shapes(graphs: OnnxStudent) -> None:
    geometry = graphs.geometry
    layers = range(geometry.decoder_layers)
    caches = {f"{kind}.{i}" for i in layers for kind in ("key", "value")}
    cross = {f"cross_{name}" for name in caches}
    inputs = {"input_ids", "positions", "write_index", "cache_positions", "visible", "target_ids"}
    assert {x.name for x in graphs.encoder.get_inputs()} == {"input_ids", "attention_mask"}
    assert {x.name for x in graphs.encoder.get_outputs()} == cross
    assert {x.name for x in graphs.decoder.get_inputs()} == inputs | caches | cross | {"cross_mask"}
    outputs = {x.name: x.shape for x in graphs.decoder.get_outputs()}
    assert outputs == {
        **{name: ["B", "T"] for name in ("next_id", "next_logprob", "target_logprob")},
        **{f"present_{name}": ["B", geometry.heads, "M", geometry.head_dim] for name in caches},
    }


@pytest.mark.usefixtures("graphs")
def test_the_decoder_holds_each_weight_once(student: Student, folder: Path) -> None:
    decoder = onnx.load(folder / DECODER)
    onnx.checker.check_model(decoder, full_check=True)
    held = sum(int(np.prod(tensor.dims)) for tensor in decoder.graph.initializer)
    elsewhere = ("EncDecAttention.k.weight", "EncDecAttention.v.weight", "bias.weight")
    weights = sum(
        weight.numel()
        for name, weight in student.model.named_parameters()  # tied weights come once
        if name.startswith(("shared", "decoder", "lm_head")) and not name.endswith(elsewhere)
    )
    config = student.model.config
    biases = config.num_heads * (config.relative_attention_max_distance + 1)
    assert weights + biases <= held < weights + biases + 100  # some constants


@pytest.mark.parametrize("lengths", [(1,), (1, 31), (64, 2, 17)])
def test_chain_gives_the_log_probabilities_of_transformers(
    student: Student, graphs: OnnxStudent, lengths: tuple[int, ...]
) -> None:
    inputs = [random_tokens((length,), seed=length).tolist() for length in lengths]
    tokens = random_tokens((len(lengths), 40))  # twice the distance at which buckets saturate
    targets = random_tokens(tokens.shape, seed=1)
    next_id, next_logprob, target_logprob = Decoder(graphs, inputs).chain(
        tokens, np.zeros(len(lengths), int), targets
    )
    for i, input_ids in enumerate(inputs):
        expected = logprobs(student, input_ids, tokens[i].tolist())
        assert next_id[i].tolist() == expected.argmax(-1).tolist()
        np.testing.assert_allclose(next_logprob[i], expected.max(-1), atol=5e-5)
        np.testing.assert_allclose(
            target_logprob[i], expected[np.arange(40), targets[i]], atol=5e-5
        )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_steps_of_one_token_and_chains_are_the_same_to_the_last_bit(
    precision: Precision, student: Student, tmp_path: Path
) -> None:
    graphs = save_graphs(student, tmp_path, precision)
    inputs = [random_tokens((9,)).tolist(), random_tokens((4,)).tolist()]
    tokens = random_tokens((2, 40))
    whole = Decoder(graphs, inputs).chain(tokens, np.zeros(2, int))
    pieces = Decoder(graphs, inputs)
    cuts = [0, 1, 2, 3, 8, 9, 25, 40]
    parts = [
        pieces.chain(tokens[:, start:stop], np.full(2, start)) for start, stop in pairwise(cuts)
    ]
    for expected, *actual in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(np.hstack(actual), expected)


def test_rows_are_at_places_of_their_own(student: Student, graphs: OnnxStudent) -> None:
    inputs = [random_tokens((5,)).tolist(), random_tokens((12,)).tolist()]
    texts = random_tokens((2, 30))
    decoder = Decoder(graphs, inputs)
    decoder.chain(texts[:, :3], np.array([0, 0]))
    # Row 1 goes on with 17 more tokens; row 0 begins again, and then goes on at 3.
    decoder.chain(np.stack([texts[0, :17], texts[1, 3:20]]), np.array([0, 3]))
    at = np.array([3, 20])
    tokens = np.stack([texts[0, 3:8], texts[1, 20:25]])
    next_id, next_logprob, _ = decoder.chain(tokens, at)
    for i, input_ids in enumerate(inputs):
        expected = logprobs(student, input_ids, texts[i, : at[i] + 5].tolist())[at[i] :]
        assert next_id[i].tolist() == expected.argmax(-1).tolist()
        np.testing.assert_allclose(next_logprob[i], expected.max(-1), atol=5e-5)


def test_trees_score_each_branch_as_if_it_were_alone(student: Student, graphs: OnnxStudent) -> None:
    """A trie in each row, one of them a single node, after beginnings of different lengths."""
    inputs = [random_tokens((length,), seed=length).tolist() for length in (7, 1, 64, 20)]
    begins = [random_tokens((length,), seed=length).tolist() for length in (30, 0, 11, 1)]
    tries = [random_trie(count, seed=count) for count in (18, 12, 1, 6)]
    decoder, width = Decoder(graphs, inputs), max(map(len, tries))
    at = np.array([len(begin) for begin in begins])
    decoder.chain(pad(begins, 0)[0], np.zeros(len(inputs), int))

    tokens, positions, targets = np.zeros((3, len(inputs), width), int)
    cache_positions = np.tile(np.arange(WIDTH), (len(inputs), 1))
    visible = np.zeros((len(inputs), width, WIDTH), bool)
    for row, trie in enumerate(tries):
        for i, node in enumerate(trie):
            tokens[row, i], targets[row, i] = node[-1], 3 + i
            positions[row, i] = cache_positions[row, at[row] + i] = at[row] + len(node) - 1
            visible[row, i, : at[row]] = True
            for j, other in enumerate(trie):
                visible[row, i, at[row] + j] = node[: len(other)] == other
    next_id, next_logprob, target_logprob = decoder.step(
        tokens, positions, at, cache_positions, visible, targets
    )
    for row, trie in enumerate(tries):
        for i, node in enumerate(trie):
            expected = logprobs(student, inputs[row], [*begins[row], *node])[-1]
            assert next_id[row, i] == expected.argmax()
            np.testing.assert_allclose(next_logprob[row, i], expected.max(), atol=5e-5)
            np.testing.assert_allclose(target_logprob[row, i], expected[3 + i], atol=5e-5)


def random_trie(count: int, seed: int) -> list[tuple[int, ...]]:
    """Nodes, each a path from the root, that come after those above them and in no other order."""
    rng = random.Random(seed)
    nodes = [(rng.randrange(3, 320),)]
    while len(nodes) < count:
        node = (*rng.choice([(), *nodes]), rng.randrange(3, 320))
        if node not in nodes:
            nodes.append(node)
    return nodes


def test_a_row_that_sees_nothing_stays_finite(graphs: OnnxStudent) -> None:
    decoder = Decoder(graphs, [random_tokens((5,)).tolist()] * 2)
    entries = np.tile(np.arange(WIDTH), (2, 1))
    visible = np.zeros((2, 1, WIDTH), bool)
    visible[0, 0, 0] = True
    zero = np.zeros((2, 1), np.int64)
    _, next_logprob, _ = decoder.step(zero, zero, np.zeros(2, np.int64), entries, visible)
    assert np.isfinite(next_logprob).all()
    assert all(np.isfinite(cache).all() for cache in decoder.caches.values())
