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
    """These graphs cannot represent this T5."""


def initializer(op: OpBuilder, name: str, weight: torch.Tensor, dtype: ir.DataType) -> ir.Value:
    tensor = weight.detach().to(ir.tensor_adapters.to_torch_dtype(dtype)).contiguous()
    return op.initializer(ir.tensor(tensor), name)


def cast(op: OpBuilder, x: ir.Value, dtype: ir.DataType) -> ir.Value:
    return x if x.dtype == dtype else op.Cast(x, to=dtype)


def hidden_bias(dtype: ir.DataType) -> float:
    """The bias of hidden entries: half the lowest number, so no sum with it overflows."""
    return torch.finfo(ir.tensor_adapters.to_torch_dtype(dtype)).min / 2


def project(op: OpBuilder, name: str, x: ir.Value, *linears: nn.Linear) -> ir.Value:
    """The product of x [N,D] with several linears without bias, the results side by side."""
    weight = torch.cat([linear.weight for linear in linears]).T  # [D, sum of outputs]
    assert x.dtype is not None
    return op.MatMul(x, initializer(op, name, weight, x.dtype))


def add_residual(op: OpBuilder, x: ir.Value, branch: ir.Value) -> ir.Value:
    """The sum of the residual stream x, in fp32, and a layer's output."""
    return op.Add(x, cast(op, branch, FLOAT))


def rms_norm(
    op: OpBuilder, name: str, norm: T5LayerNorm, x: ir.Value, dtype: ir.DataType
) -> ir.Value:
    weight = initializer(op, name, norm.weight, FLOAT)
    return cast(op, op.RMSNormalization(x, weight, epsilon=norm.variance_epsilon), dtype)


def attend(
    op: OpBuilder, query: ir.Value, key: ir.Value, value: ir.Value, bias: ir.Value
) -> ir.Value:
    """Attention [B,H,T,Dk] of queries [B,H,T,Dk] over keys and values [B,H,M,Dk]."""
    return op.Attention(query, key, value, bias, scale=1.0, softmax_precision=FLOAT)


def attend_each(
    op: OpBuilder,
    query: ir.Value,
    key: ir.Value,
    value: ir.Value,
    bias: ir.Value,
    config: T5Config,
) -> ir.Value:
    """Attention [N,H*Dk] of queries [B,H,T,Dk] over keys and values [B,H,M,Dk], query by query.

    For a matrix of one row, the runtime uses another kernel than for several rows, and the last
    digits differ. So each of a head's T queries is its own head, in a group that shares keys and
    values (Ainslie et al., 2023).
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
    """Splits x [N,parts*H*Dk] into parts [B,H,T,Dk]. Each row has T = `tokens` [1] tokens."""
    shape = op.Concat([-1], tokens, [parts * config.num_heads, config.d_kv], axis=0)
    x = op.Transpose(op.Reshape(x, shape), perm=[0, 2, 1, 3])
    if parts == 1:
        return [x]
    return list(op.Split(x, axis=1, num_outputs=parts, _outputs=parts))


def merge_heads(op: OpBuilder, x: ir.Value, config: T5Config) -> ir.Value:
    """Merges the heads of x [B,H,T,Dk] to [N,H*Dk]."""
    return op.Reshape(op.Transpose(x, perm=[0, 2, 1, 3]), [-1, config.num_heads * config.d_kv])


def boolean_mask(op: OpBuilder, mask: ir.Value) -> ir.Value:
    """A mask of ones and zeros [B,S] as booleans [B,1,1,S]."""
    return op.Cast(op.Unsqueeze(mask, [1, 2]), to=BOOL)


def relative_bias(
    op: OpBuilder, attention: T5Attention, relative: ir.Value, dtype: ir.DataType
) -> ir.Value:
    """T5's bias [B,H,T,M] for `relative` [B,T,M], the key's position minus the query's.

    The buckets saturate at `relative_attention_max_distance`, so a table of the distances up to it
    is exact. In a decoder, keys ahead of the query count as distance 0.
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
    """The index [N,1] of each row's largest logit, the first one of equals. `logits` are [N,V].

    Finds the block of the vocabulary, then the index in the block: onnxruntime's ReduceMax is many
    times faster than its ArgMax.
    """
    block = max(size for size in range(1, 257) if vocab_size % size == 0)
    blocks = op.Reshape(logits, [0, -1, block])  # [N,V/block,block]
    best = op.ArgMax(op.ReduceMax(blocks, [-1], keepdims=0), axis=-1, keepdims=1)  # [N,1]
    inside = op.GatherND(blocks, op.Unsqueeze(best, [-1]), batch_dims=1)  # [N,1,block]
    place = op.ArgMax(op.Squeeze(inside, [1]), axis=-1, keepdims=1)  # [N,1]
    return op.Add(op.Mul(best, block), place)
