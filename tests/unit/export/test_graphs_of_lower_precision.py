"""Which types the graphs hold in each precision, and what they give in fp16."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from export.bundle import Precision
from export.graphs import DTYPES, build_graphs
from tests.support.graph_decoder import (
    SHAPES,
    Decoder,
    logprobs,
    random_tokens,
)
from tests.support.tiny_students import KINDS, Kind, Student, save_graphs, tiny_student

FLOATS = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16}


@pytest.fixture(scope="module", params=SHAPES)
def student(request: pytest.FixtureRequest) -> Student:
    return tiny_student(**SHAPES[request.param])


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
