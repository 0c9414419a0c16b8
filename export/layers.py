"""The layers of T5 (Raffel et al., 2020) as ONNX operators.

Activations are rows [N,D], one for each of the N = B*T tokens of B sequences. There are H heads of
Dk values, and M keys.
"""

from typing import Any

import onnx_ir as ir
import torch
from onnxscript import OpBuilder
from torch import nn
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention, T5LayerFF, T5LayerNorm

FLOAT, INT64, BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL


class UnsupportedModelError(ValueError):
    """A T5 that these graphs cannot hold."""


def initializer(op: OpBuilder, name: str, weight: torch.Tensor, dtype: ir.DataType) -> ir.Value:
    tensor = weight.detach().to(ir.tensor_adapters.to_torch_dtype(dtype)).contiguous()
    return op.initializer(ir.tensor(tensor), name)


def cast(op: OpBuilder, x: ir.Value, dtype: ir.DataType) -> ir.Value:
    return x if x.dtype == dtype else op.Cast(x, to=dtype)


def hidden_bias(dtype: ir.DataType) -> float:
    """The bias of what is not attended to: half the lowest number, so no sum with it overflows."""
    return torch.finfo(ir.tensor_adapters.to_torch_dtype(dtype)).min / 2


def project(op: OpBuilder, name: str, x: ir.Value, *linears: nn.Linear) -> ir.Value:
    """x [N,D] through several linears without bias as one product, results side by side."""
    weight = torch.cat([linear.weight for linear in linears]).T  # [D, sum of outputs]
    assert x.dtype is not None
    return op.MatMul(x, initializer(op, name, weight, x.dtype))


def add_residual(op: OpBuilder, x: ir.Value, branch: ir.Value) -> ir.Value:
    """The residual stream x, in fp32, and what a layer adds to it."""
    return op.Add(x, cast(op, branch, FLOAT))


def rms_norm(
    op: OpBuilder, name: str, norm: T5LayerNorm, x: ir.Value, dtype: ir.DataType
) -> ir.Value:
    weight = initializer(op, name, norm.weight, FLOAT)
    return cast(op, op.RMSNormalization(x, weight, epsilon=norm.variance_epsilon), dtype)


def attend(
    op: OpBuilder, query: ir.Value, key: ir.Value, value: ir.Value, bias: ir.Value
) -> ir.Value:
    """Queries [B,H,T,Dk] over keys and values [B,H,M,Dk] to [B,H,T,Dk]."""
    return op.Attention(query, key, value, bias, scale=1.0, softmax_precision=FLOAT)


def attend_each(
    op: OpBuilder,
    query: ir.Value,
    key: ir.Value,
    value: ir.Value,
    bias: ir.Value,
    config: T5Config,
) -> ir.Value:
    """Queries [B,H,T,Dk] over keys and values [B,H,M,Dk] to [N,H*Dk], one query at a time.

    A matrix of one row goes through another kernel than one of several, with other last digits. So
    the T queries of a head are heads of their own, of a group (Ainslie et al., 2023) that shares
    keys and values.
    """
    query = op.Reshape(query, [0, -1, 1, config.d_kv])  # [B,H*T,1,Dk]
    attended = attend(op, query, key, value, bias)
    return merge_heads(op, op.Reshape(attended, [0, config.num_heads, -1, config.d_kv]), config)


def feed_forward(
    op: OpBuilder, name: str, layer: T5LayerFF, config: T5Config, x: ir.Value, dtype: ir.DataType
) -> ir.Value:
    dense: Any = layer.DenseReluDense
    h = rms_norm(op, f"{name}.norm", layer.layer_norm, x, dtype)
    if config.is_gated_act:
        h = project(op, f"{name}.wi", h, dense.wi_0, dense.wi_1)
        gate, linear = op.Split(h, axis=-1, num_outputs=2, _outputs=2)
        h = op.Mul(activation(op, config.dense_act_fn, gate), linear)
    else:
        h = activation(op, config.dense_act_fn, project(op, f"{name}.wi", h, dense.wi))
    return project(op, f"{name}.wo", cast(op, h, FLOAT), dense.wo)


def activation(op: OpBuilder, name: str, x: ir.Value) -> ir.Value:
    match name:
        case "relu":
            return op.Relu(x)
        case "gelu_new":
            return op.Gelu(x, approximate="tanh")
    raise UnsupportedModelError(f"the activation {name!r} is not one of T5's: relu, gelu_new")


def split_heads(
    op: OpBuilder, x: ir.Value, tokens: ir.Value, config: T5Config, parts: int
) -> list[ir.Value]:
    """x [N,parts*H*Dk] of rows of T = `tokens` [1] tokens to parts of [B,H,T,Dk]."""
    shape = op.Concat([-1], tokens, [parts * config.num_heads, config.d_kv], axis=0)
    x = op.Transpose(op.Reshape(x, shape), perm=[0, 2, 1, 3])
    if parts == 1:
        return [x]
    return list(op.Split(x, axis=1, num_outputs=parts, _outputs=parts))


def merge_heads(op: OpBuilder, x: ir.Value, config: T5Config) -> ir.Value:
    """[B,H,T,Dk] to [N,H*Dk]."""
    return op.Reshape(op.Transpose(x, perm=[0, 2, 1, 3]), [-1, config.num_heads * config.d_kv])


def boolean_mask(op: OpBuilder, mask: ir.Value) -> ir.Value:
    """A mask of ones and zeros [B,S] as booleans [B,1,1,S]."""
    return op.Cast(op.Unsqueeze(mask, [1, 2]), to=BOOL)


def relative_bias(
    op: OpBuilder, attention: T5Attention, relative: ir.Value, dtype: ir.DataType
) -> ir.Value:
    """T5's bias [B,H,T,M] by `relative` [B,T,M], the place of the key less that of the query.

    The buckets saturate at `relative_attention_max_distance`, so a table of all distances up to
    there is exact. A decoder's bias knows no keys ahead of the query: they count as distance 0.
    """
    furthest = attention.relative_attention_max_distance
    ahead = 0 if attention.is_decoder else furthest
    buckets = attention._relative_position_bucket(
        torch.arange(-furthest, ahead + 1),
        bidirectional=not attention.is_decoder,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=furthest,
    )
    biases = attention.relative_attention_bias.weight[buckets]
    table = initializer(op, "relative_bias", biases, dtype)
    rows = op.Add(op.Clip(relative, -furthest, ahead), furthest)
    return op.Transpose(op.Gather(table, rows), perm=[0, 3, 1, 2])  # from [B,T,M,H]


def argmax(op: OpBuilder, logits: ir.Value, vocab_size: int) -> ir.Value:
    """The first place of the largest of each row, [N,V] to [N,1].

    First the block of the vocabulary, then the place in it: onnxruntime's ReduceMax is many times
    faster than its ArgMax.
    """
    block = max(size for size in range(1, 257) if vocab_size % size == 0)
    blocks = op.Reshape(logits, [0, -1, block])  # [N,V/block,block]
    best = op.ArgMax(op.ReduceMax(blocks, [-1], keepdims=0), axis=-1, keepdims=1)  # [N,1]
    inside = op.GatherND(blocks, op.Unsqueeze(best, [-1]), batch_dims=1)  # [N,1,block]
    place = op.ArgMax(op.Squeeze(inside, [1]), axis=-1, keepdims=1)  # [N,1]
    return op.Add(op.Mul(best, block), place)
