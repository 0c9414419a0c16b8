"""Quantises a graph: weights, and the activations that they multiply, become 8-bit integers.

A row of activations x [D] has its own scale, so other rows in the batch do not change it: with
s = max|x| / 127, x ≈ s · (q − 128), q in [1, 255] as uint8. (onnxruntime's own
DynamicQuantizeLinear has one scale for all rows.) A weight has a scale for each output channel n:
W[:, n] ≈ t[n] · w[:, n], w in [−64, 64] as int8. Then, with an exact sum in 32 bits,

    (x W)[n] ≈ s · t[n] · Σ_d (q[d] − 128) · w[d, n].

Weights use 7 of their 8 bits. Processors with AVX2 or AVX-512 but without VNNI add two products of
uint8 and int8 in 16 bits. With 7 bits these sums do not saturate: 2 · 255 · 64 < 2¹⁵.
"""

from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from onnxscript import GraphBuilder, OpBuilder

from training.student.rounding import SMALLEST, quantize_weight

EMBEDDING = "embedding"  # the weight whose rows are looked up
ACTIVATION_LEVELS = 127  # on each side of zero
ZERO_POINT = 128  # of activations


def quantize(model: ir.Model) -> None:
    """Quantises, in place, every product with a weight and every look-up of an embedding.

    A weight with both uses, as a tied embedding, is stored once, with a scale for each token.
    """
    quantizer = _Quantizer(GraphBuilder(model.graph).op)
    for node in list(model.graph):
        inputs: Any = node.inputs
        if node.op_type == "MatMul":
            new = quantizer.product(*inputs)
        elif node.op_type == "Gather" and inputs[0].name == EMBEDDING:
            new = quantizer.look_up(*inputs)
        else:
            continue
        ir.convenience.replace_all_uses_with(node.outputs[0], new)
    RemoveUnusedNodesPass()(model)
    model.graph.sort()


class _Quantizer:
    """Adds integer operators to a graph."""

    def __init__(self, op: OpBuilder) -> None:
        self._op = op
        self._weights: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
        self._levels = self._constant("levels", np.float32(ACTIVATION_LEVELS))
        self._smallest = self._constant("smallest", np.float32(SMALLEST))
        self._zero_point = self._constant("zero_point", np.uint8(ZERO_POINT))
        self._last = self._constant("last_axis", np.array([-1]))
        self._zero_points: ir.Value | None = None  # [N], of the rows of all activations

    def product(self, x: ir.Value, matrix: ir.Value) -> ir.Value:
        """The product [N,K] of x [N,D] and a weight [D,K], or a transposed weight [K,D]."""
        op = self._op
        transpose: Any = matrix.producer()
        if transpose is None:
            weight, scale = self._weight(matrix, axis=1)
        else:
            weight, scale = self._weight(transpose.inputs[0], axis=0)
            weight = op.Transpose(weight, perm=[1, 0])
        largest = op.ReduceMax(op.Abs(x), self._last, keepdims=0)  # [N]
        row_scale = op.Max(op.Div(largest, self._levels), self._smallest)
        if self._zero_points is None:
            self._zero_points = op.Expand(self._zero_point, op.Shape(row_scale))
        rows = op.QuantizeLinear(x, row_scale, self._zero_points, axis=0)
        sums = op.MatMulInteger(rows, weight, self._zero_point)
        return op.Mul(op.DequantizeLinear(sums, row_scale, axis=0), scale)

    def look_up(self, table: ir.Value, ids: ir.Value) -> ir.Value:
        """The rows [N,D] of a table [V,D] for `ids` [N]."""
        op = self._op
        weight, scale = self._weight(table, axis=0)
        rows = op.Cast(op.Gather(weight, ids), to=ir.DataType.FLOAT)
        return op.Mul(rows, op.Unsqueeze(op.Gather(scale, ids), self._last))

    def _weight(self, weight: ir.Value, axis: int) -> tuple[ir.Value, ir.Value]:
        if weight not in self._weights:
            assert weight.const_value is not None
            values, scale = quantize_weight(weight.const_value.numpy(), axis)
            self._weights[weight] = (
                self._constant(f"{weight.name}.values", values),
                self._constant(f"{weight.name}.scale", scale),
            )
        return self._weights[weight]

    def _constant(self, name: str, value: np.ndarray | np.generic) -> ir.Value:
        return self._op.initializer(ir.tensor(np.asarray(value)), f"int8.{name}")
