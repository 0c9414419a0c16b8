"""Both graphs against transformers, with random weights."""

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from export.bundle import DECODER, Precision
from export.graphs import DTYPES, build_graphs
from export.reference import OnnxStudent, pad
from tests.support.tiny_students import KINDS, Kind, Student, save_graphs, tiny_student

WIDTH = 48  # M, the entries of a cache


# Distances saturate early, so that the tests pass far beyond. The heads together are now as wide as
# the model, as a T5's are, and now not, as a flan-t5-small's are not.
SHAPES: dict[str, dict[str, Any]] = {
    "v1_0": {"kind": "v1_0", "decoder_layers": 3, "relative_attention_max_distance": 20},
    "v1_1": {"kind": "v1_1", "decoder_layers": 3, "relative_attention_max_distance": 20},
    "v1_0 odd": {
        "kind": "v1_0",
        "decoder_layers": 1,
        "num_layers": 3,
        "d_model": 33,
        "d_kv": 7,
        "num_heads": 3,
        "d_ff": 51,
        "relative_attention_num_buckets": 7,
        "relative_attention_max_distance": 11,
    },
    "v1_1 odd": {
        "kind": "v1_1",
        "decoder_layers": 4,
        "num_layers": 1,
        "d_model": 24,
        "d_kv": 9,
        "num_heads": 5,
        "d_ff": 35,
        "relative_attention_num_buckets": 14,
        "relative_attention_max_distance": 37,
    },
}


@pytest.fixture(scope="module", params=SHAPES)
def student(request: pytest.FixtureRequest) -> Student:
    return tiny_student(**SHAPES[request.param])


@pytest.fixture(scope="module")
def folder(student: Student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture(scope="module")
def graphs(student: Student, folder: Path) -> OnnxStudent:
    return save_graphs(student, folder)


class Decoder:
    """Steps of the decoder over caches that are kept, as an engine keeps them."""

    def __init__(self, graphs: OnnxStudent, input_ids: list[list[int]]) -> None:
        self.graphs = graphs
        self.rows = len(input_ids)
        padded, mask = pad(input_ids, graphs.geometry.pad_id)
        outputs = graphs.encoder.run(None, {"input_ids": padded, "attention_mask": mask})
        names = [output.name for output in graphs.encoder.get_outputs()]
        self.cross = dict(zip(names, outputs, strict=True)) | {"cross_mask": mask}
        shape = (self.rows, graphs.geometry.heads, WIDTH, graphs.geometry.head_dim)
        layers = range(graphs.geometry.decoder_layers)
        self.caches = {
            f"{kind}.{i}": np.zeros(shape, graphs.cache_dtype)
            for i in layers
            for kind in ("key", "value")
        }

    def step(
        self,
        tokens: np.ndarray,
        positions: np.ndarray,
        write_index: np.ndarray,
        cache_positions: np.ndarray,
        visible: np.ndarray,
        targets: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        names = [output.name for output in self.graphs.decoder.get_outputs()]
        feeds = {
            "input_ids": tokens,
            "positions": positions,
            "write_index": write_index,
            "cache_positions": cache_positions,
            "visible": visible,
            "target_ids": tokens if targets is None else targets,
        }
        results = self.graphs.decoder.run(None, feeds | self.cross | self.caches)
        outputs = dict(zip(names, results, strict=True))
        self.caches = {name: outputs[f"present_{name}"] for name in self.caches}
        return outputs["next_id"], outputs["next_logprob"], outputs["target_logprob"]

    def chain(
        self, tokens: np.ndarray, at: np.ndarray, targets: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens [B,T] that follow each other, from place at[b] on in row b."""
        positions = at[:, None] + np.arange(tokens.shape[1])
        entries = np.tile(np.arange(WIDTH), (self.rows, 1))
        visible = entries[:, None] <= positions[:, :, None]
        return self.step(tokens, positions, at, entries, visible, targets)


def logprobs(student: Student, input_ids: list[int], decoder_input_ids: list[int]) -> np.ndarray:
    """Transformers' log-probabilities [T,V], of one row alone and without padding."""
    with torch.inference_mode():
        logits = student.model(
            input_ids=torch.tensor([input_ids]), decoder_input_ids=torch.tensor([decoder_input_ids])
        ).logits
    return logits[0].log_softmax(-1).numpy()


def random_tokens(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 320, shape)


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


FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}


def operands(graph: ir.Model) -> dict[str, set[ir.DataType]]:
    """The types of floating point that enter and leave the nodes of each operator."""
    types: dict[str, set[ir.DataType]] = {}
    for node in graph.graph:
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        assert all(value.dtype is not None for value in values)
        found = {value.dtype for value in values if value.dtype in FLOATS}
        types.setdefault(node.op_type, set()).update(found)
    return types


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_keeps_fp32_where_it_must(
    kind: Kind, precision: Precision, tmp_path: Path
) -> None:
    half, full = DTYPES[precision], ir.DataType.FLOAT
    for name, graph in build_graphs(tiny_student(kind).model, precision).items():
        ir.save(graph, tmp_path / name)
        onnx.checker.check_model(tmp_path / name, full_check=True)
        interface = {*graph.graph.inputs, *graph.graph.outputs}
        for value in interface:
            if value.dtype in FLOATS:
                assert value.dtype == (full if "logprob" in str(value.name) else half)

        for weight_name, weight in graph.graph.initializers.items():
            if weight_name.endswith((".wo", "norm")):
                assert weight.dtype == full
            elif weight.dtype in FLOATS and not weight_name.startswith("const"):
                assert weight.dtype == half
        products = [node for node in graph.graph if node.op_type == "MatMul"]
        for node in products:
            types = {value.dtype for value in (*node.inputs, *node.outputs) if value is not None}
            is_wo = str(node.inputs[1].name if node.inputs[1] else "").endswith(".wo")
            assert types == {full if is_wo else half}

        types = operands(graph)
        assert types["Attention"] == {half}
        for attention in (node for node in graph.graph if node.op_type == "Attention"):
            assert attention.attributes.get_int("softmax_precision") == full
        for op_type in ("RMSNormalization", "LogSoftmax", "ArgMax", "GatherElements"):
            assert types.get(op_type, {full}) == {full}
        residuals = [
            node
            for node in graph.graph
            if node.op_type == "Add" and node.outputs[0].dtype in FLOATS
        ]
        assert len(residuals) >= 4
        assert all(node.outputs[0].dtype == full for node in residuals)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_other_precisions_have_fp32_alone(precision: Precision) -> None:
    for graph in build_graphs(tiny_student().model, precision).values():
        assert set.union(*operands(graph).values()) == {ir.DataType.FLOAT}


def test_fp16_is_close_where_the_processor_runs_it(student: Student, tmp_path: Path) -> None:
    """bf16 is not run: onnxruntime's CPU provider has no kernels for it."""
    graphs = save_graphs(student, tmp_path, "fp16")
    input_ids, tokens = random_tokens((9,)).tolist(), random_tokens((1, 20))
    decoder = Decoder(graphs, [input_ids])
    _, next_logprob, _ = decoder.chain(tokens, np.zeros(1, int))
    assert {cache.dtype for cache in decoder.caches.values()} == {np.dtype(np.float16)}
    assert next_logprob.dtype == np.float32
    expected = logprobs(student, input_ids, tokens[0].tolist())
    np.testing.assert_allclose(next_logprob[0], expected.max(-1), atol=0.05)


def test_fp16_survives_a_feed_forward_beyond_its_range(student: Student, tmp_path: Path) -> None:
    """T5's feed-forward writes values that 16 bits of fp16 cannot hold: over 65,504."""
    input_ids, tokens = random_tokens((9,)).tolist(), random_tokens((1, 20))
    wo = student.model.decoder.block[-1].layer[2].DenseReluDense.wo.weight
    before = wo.detach().clone()
    try:
        with torch.no_grad():
            wo *= 1e6 / wo.abs().max()
        graphs = save_graphs(student, tmp_path, "fp16")
        expected = logprobs(student, input_ids, tokens[0].tolist())
    finally:
        with torch.no_grad():
            wo.copy_(before)
    _, next_logprob, _ = Decoder(graphs, [input_ids]).chain(tokens, np.zeros(1, int))
    np.testing.assert_allclose(next_logprob[0], expected.max(-1), atol=0.1)
