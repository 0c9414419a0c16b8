"""Products in 8-bit integers: close to fp32, of each row alone, and safe on every processor."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnxscript import GraphBuilder

from export.bundle import DECODER, ENCODER, Precision
from export.graphs import build_graphs
from export.quantize import quantize
from export.reference import OnnxStudent
from tests.support.tiny_students import KINDS, Kind, save_graphs, tiny_student
from training.student.rounding import quantize_weight

D, N = 512, 96


def product(weight: np.ndarray) -> onnxruntime.InferenceSession:
    """A quantised product y [R,N] of x [R,D] with a weight [D,N]."""
    builder = GraphBuilder(ir.Graph([], [], nodes=[], name="product", opset_imports={"": 24}))
    x = builder.input("x", ir.DataType.FLOAT, ["R", weight.shape[0]])
    y = builder.op.MatMul(x, builder.op.initializer(ir.tensor(weight), "w"))
    builder.add_output(builder.op.Identity(y), "y")
    model = ir.Model(builder.graph, ir_version=11)
    quantize(model)
    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())


def run(session: onnxruntime.InferenceSession, x: np.ndarray) -> np.ndarray:
    return session.run(None, {"x": x})[0]


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_a_product_is_what_the_formula_says() -> None:
    x, weight = normal(6, D), normal(D, N, seed=1)
    values, scale = quantize_weight(weight, axis=1)
    row_scale = np.abs(x).max(-1, keepdims=True) / np.float32(127)
    rows = np.rint(x / row_scale).astype(np.int64)
    expected = (rows @ values.astype(np.int64)) * row_scale.astype(np.float64) * scale
    y = run(product(weight), x)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    exact = x @ weight
    assert np.abs(y - exact).max() < 0.05 * np.abs(exact).max()


def test_a_row_is_the_same_alone_and_among_neighbours() -> None:
    session = product(normal(D, N, seed=1))
    x = normal(32, D) * np.logspace(-3, 3, 32, dtype=np.float32)[:, None]
    together = run(session, x)
    for i in range(32):
        np.testing.assert_array_equal(run(session, x[i : i + 1]), together[i : i + 1])


def test_rows_and_channels_of_zeros_stay_zeros() -> None:
    weight = normal(D, N)
    weight[:, 3] = 0
    x = normal(2, D)
    x[1] = 0
    y = run(product(weight), x)
    assert np.isfinite(y).all()
    assert (y[1] == 0).all()
    assert (y[0, 3], y[0, 4] != 0) == (0, True)


def test_the_largest_sums_do_not_saturate() -> None:
    """Where a kernel added two products in 16 bits, this is what would show it."""
    weight = np.ones((D, N), np.float32)
    np.testing.assert_allclose(run(product(weight), np.ones((1, D), np.float32)), D, rtol=1e-6)
    np.testing.assert_allclose(run(product(-weight), np.ones((1, D), np.float32)), -D, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_each_channel_of_a_weight_has_its_scale(axis: int) -> None:
    weight = normal(40, 30) * np.logspace(-4, 4, (40, 30)[axis]).reshape(
        (-1, 1) if not axis else 30
    )
    values, scale = quantize_weight(weight.astype(np.float32), axis)
    assert values.dtype == np.int8
    assert scale.shape == (weight.shape[axis],)
    assert (np.abs(values).max(1 - axis) == 64).all()
    scales = np.expand_dims(scale, 1 - axis)
    assert (np.abs(values * scales - weight) <= 0.501 * scales).all()


def initializers(graph: ir.Model) -> dict[str, ir.Value]:
    return dict(graph.graph.initializers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [ENCODER, DECODER])
def test_every_weight_is_quantised_so_that_no_processor_saturates(kind: Kind, name: str) -> None:
    graph = build_graphs(tiny_student(kind).model, "int8")[name]
    nodes = list(graph.graph)
    products = [node for node in nodes if node.op_type == "MatMulInteger"]
    assert not [node for node in nodes if node.op_type == "MatMul"]

    inputs = {node.inputs[0] for node in products}  # quantised once each
    assert len(products) == len(inputs) == len([n for n in nodes if n.op_type == "QuantizeLinear"])
    for value in initializers(graph).values():
        assert value.const_value is not None
        array: Any = value.const_value.numpy()
        if value.dtype == ir.DataType.INT8:
            # uint8 rows by int8 weights; two products must fit 16 bits
            assert 2 * 255 * int(np.abs(array.astype(int)).max()) < 2**15
        elif value.dtype == ir.DataType.FLOAT and array.ndim == 2:
            assert value.name == "relative_bias"
    for node in products:
        assert [v.dtype for v in node.inputs if v is not None] == [
            ir.DataType.UINT8,
            ir.DataType.INT8,
            ir.DataType.UINT8,
        ]


def test_tied_embeddings_are_held_once() -> None:
    student = tiny_student("v1_0")
    held = initializers(build_graphs(student.model, "int8")[DECODER])
    table = tuple(student.model.shared.weight.shape)
    assert [v.dtype for v in held.values() if tuple(v.shape or ()) in (table, table[::-1])] == [
        ir.DataType.INT8
    ]


def weight_bytes(precision: Precision) -> int:
    graphs = build_graphs(tiny_student(d_model=128, d_ff=256, d_kv=32).model, precision)
    values = [v.const_value for g in graphs.values() for v in initializers(g).values()]
    return sum(value.nbytes for value in values if value is not None)


def test_a_graph_is_nearly_a_quarter_as_large() -> None:
    assert weight_bytes("int8") < 0.27 * weight_bytes("fp32")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [1, 4])
def test_a_decoder_step_of_a_row_is_the_same_alone_and_among_neighbours(
    precision: Precision, kind: Kind, tokens: int, tmp_path: Path
) -> None:
    graphs = save_graphs(tiny_student(kind), tmp_path, precision)
    feeds = step_feeds(graphs, rows=32, tokens=tokens)
    together = graphs.decoder.run(None, feeds)
    for i in (0, 13, 31):
        alone = graphs.decoder.run(None, {name: x[i : i + 1] for name, x in feeds.items()})
        for expected, actual in zip(together, alone, strict=True):
            np.testing.assert_array_equal(actual, expected[i : i + 1])


def step_feeds(graphs: OnnxStudent, rows: int, tokens: int) -> dict[str, np.ndarray]:
    """A step at place 10 of each row, over full caches."""
    rng = np.random.default_rng(0)
    sizes = {"B": rows, "T": tokens, "M": 24, "S": 17}
    shapes = {
        tensor.name: [sizes.get(size, size) for size in tensor.shape]
        for tensor in graphs.decoder.get_inputs()
    }
    feeds = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in shapes.items()
        if "key" in name or "value" in name
    }
    places = np.tile(np.arange(24), (rows, 1))
    positions = places[:, 10 : 10 + tokens]
    return feeds | {
        "input_ids": rng.integers(3, 300, (rows, tokens)),
        "target_ids": rng.integers(3, 300, (rows, tokens)),
        "positions": positions,
        "write_index": np.full(rows, 10),
        "cache_positions": places,
        "visible": places[:, None] <= positions[:, :, None],
        "cross_mask": np.ones((rows, 17), np.int64),
    }
