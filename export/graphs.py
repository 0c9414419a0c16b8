"""The two ONNX graphs of a T5 student (Raffel et al., 2020), at opset 24.

Names and shapes, with B rows, S input tokens, T new tokens a row, M cache entries, H heads of
Dk values, and one pair of caches for each decoder layer l = 0, 1, ...:

encoder
    in   input_ids [B,S] i64, attention_mask [B,S] i64 (1: a token, 0: padding)
    out  cross_key.l, cross_value.l [B,H,S,Dk]
decoder: one step
    in   input_ids [B,T] i64        the new tokens
         positions [B,T] i64        the place of each in its own sequence
         write_index [B] i64        where in a row's cache its T new entries are written
         cache_positions [B,M] i64  the sequence place of every cache entry
         visible [B,T,M] bool       the cache entries, new ones included, that a token attends to
         cross_key.l, cross_value.l [B,H,S,Dk], cross_mask [B,S] i64   from the encoder
         key.l, value.l [B,H,M,Dk]  the caches
         target_ids [B,T] i64       tokens whose log-probability is wanted
    out  next_id [B,T] i64, next_logprob [B,T], target_logprob [B,T]
         present_key.l, present_value.l [B,H,M,Dk]

A cache goes in as `key.l` and comes out as `present_key.l`, as ONNX wants every name to be unique.
Bind both to one buffer and it is updated in place. Caches must be finite from the start (zeros):
an entry that is not visible weighs nothing, but nothing times NaN is NaN.

The place of a token is free, so one graph decodes (T = 1), verifies a chain of T tokens, and
scores a tree, where siblings share a place and see their ancestors alone.

What a token gets from a step depends on nothing but its own sequence, to the last bit: not on the
other rows, nor on T, M and S. So activations are rows [N,D], one for each of the N = B*T tokens, and
in the decoder's attention each token is a query by itself.

Precisions: `fp32`; `int8` (see `export.quantize`); `fp16` and `bf16`, for GPUs. These two hold
weights, activations, keys and values in 16 bits, but what would overflow or lose too much in fp32,
as transformers does: the residual stream, the norms, the feed-forward's output projection and its
weight, the softmax of attention, and from the logits on. Log-probabilities are fp32 always.
onnxruntime's CPU provider runs fp16, slowly, and bf16 not at all: it has no bf16 kernels of MatMul,
Mul, Where, Expand, Relu, Gelu and Attention.
"""

from typing import Any

import onnx_ir as ir
import torch
from onnxscript import GraphBuilder, OpBuilder
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention, T5LayerFF, T5LayerNorm

from export.bundle import DECODER, ENCODER, Geometry, Precision
from export.quantize import EMBEDDING, quantize

OPSET = 24
IR_VERSION = 11  # the IR of opset 24

FLOAT, INT64, BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL
DTYPES: dict[Precision, ir.DataType] = {
    "fp32": FLOAT,
    "int8": FLOAT,
    "fp16": ir.DataType.FLOAT16,
    "bf16": ir.DataType.BFLOAT16,
}  # of activations, keys and values


class UnsupportedModelError(ValueError):
    """A T5 that these graphs cannot hold."""


def build_graphs(model: T5ForConditionalGeneration, precision: Precision) -> dict[str, ir.Model]:
    """Both graphs, by the names of their files. Raises UnsupportedModelError."""
    dtype = DTYPES[precision]
    graphs = {ENCODER: build_encoder(model, dtype), DECODER: build_decoder(model, dtype)}
    if precision == "int8":
        for graph in graphs.values():
            quantize(graph)
    return graphs


def build_encoder(model: T5ForConditionalGeneration, dtype: ir.DataType = FLOAT) -> ir.Model:
    """Input tokens to the keys and values that the decoder's cross attention reads.

    Raises UnsupportedModelError.
    """
    config = model.config
    encoder: Any = model.encoder
    builder = _builder("encoder")
    op = builder.op
    input_ids = builder.input("input_ids", INT64, ["B", "S"])
    attention_mask = builder.input("attention_mask", INT64, ["B", "S"])

    places = op.Range(0, op.Squeeze(op.Shape(input_ids, start=1, end=2)), 1)  # [S]
    relative = op.Sub(op.Unsqueeze(places, [0, 1]), op.Unsqueeze(places, [0, 2]))  # [1,S,S]
    bias = _relative_bias(op, encoder.block[0].layer[0].SelfAttention, relative, dtype)  # [1,H,S,S]
    bias = op.Where(_attended(op, attention_mask), bias, _hidden(dtype))  # [B,H,S,S]

    length = op.Shape(input_ids, start=1, end=2)
    embedding = _weight(op, EMBEDDING, model.shared.weight, dtype)  # [V,D]
    x = _cast(op, op.Gather(embedding, op.Reshape(input_ids, [-1])), FLOAT)  # [N,D]
    for i, block in enumerate(encoder.block):
        attention = block.layer[0].SelfAttention
        h = _norm(op, f"{i}.attention.norm", block.layer[0].layer_norm, x, dtype)
        qkv = _linear(op, f"{i}.attention.qkv", h, attention.q, attention.k, attention.v)
        query, key, value = _split_heads(op, qkv, length, config, 3)
        attended = _attention(op, query, key, value, bias)
        attended = _merge_heads(op, attended, config)
        x = _add(op, x, _linear(op, f"{i}.attention.o", attended, attention.o))
        x = _add(op, x, _feed_forward(op, f"{i}.feed_forward", block.layer[1], config, x, dtype))
    x = _norm(op, "norm", encoder.final_layer_norm, x, dtype)

    cross = [block.layer[1].EncDecAttention for block in model.decoder.block]
    keys_values = [linear for attention in cross for linear in (attention.k, attention.v)]
    h = _linear(op, "cross", x, *keys_values)  # [N,L*2*H*Dk]
    names = [f"cross_{kind}.{i}" for i in range(len(cross)) for kind in ("key", "value")]
    for name, value in zip(names, _split_heads(op, h, length, config, len(names)), strict=True):
        _output(builder, name, value, dtype, ["B", config.num_heads, "S", config.d_kv])
    return ir.Model(builder.graph, ir_version=IR_VERSION)


def build_decoder(model: T5ForConditionalGeneration, dtype: ir.DataType = FLOAT) -> ir.Model:
    """One step: T new tokens of each row, each through all decoder layers.

    Raises UnsupportedModelError.
    """
    config = model.config
    decoder: Any = model.decoder
    builder = _builder("decoder")
    op = builder.op
    cross_shape = ["B", config.num_heads, "S", config.d_kv]
    cache_shape = ["B", config.num_heads, "M", config.d_kv]
    input_ids = builder.input("input_ids", INT64, ["B", "T"])
    positions = builder.input("positions", INT64, ["B", "T"])
    write_index = builder.input("write_index", INT64, ["B"])
    cache_positions = builder.input("cache_positions", INT64, ["B", "M"])
    visible = builder.input("visible", BOOL, ["B", "T", "M"])
    layers = range(len(decoder.block))
    cross = [
        [builder.input(f"cross_{kind}.{i}", dtype, cross_shape) for kind in ("key", "value")]
        for i in layers
    ]
    cross_mask = builder.input("cross_mask", INT64, ["B", "S"])
    caches = [
        [builder.input(f"{kind}.{i}", dtype, cache_shape) for kind in ("key", "value")]
        for i in layers
    ]
    target_ids = builder.input("target_ids", INT64, ["B", "T"])

    relative = op.Sub(op.Unsqueeze(cache_positions, 1), op.Unsqueeze(positions, 2))  # [B,T,M]
    bias = _relative_bias(op, decoder.block[0].layer[0].SelfAttention, relative, dtype)
    bias = op.Where(op.Unsqueeze(visible, 1), bias, _hidden(dtype))  # [B,H,T,M]
    bias = op.Reshape(bias, [0, -1, 1, 0])  # [B,H*T,1,M]
    cross_bias = op.Where(_attended(op, cross_mask), 0.0, _hidden(dtype))
    cross_bias = _cast(op, cross_bias, dtype)  # [B,1,1,S]

    tokens = op.Shape(input_ids, start=1, end=2)  # T
    embedding = _weight(op, EMBEDDING, model.shared.weight, dtype)  # [V,D]
    x = _cast(op, op.Gather(embedding, op.Reshape(input_ids, [-1])), FLOAT)  # [N,D]
    updated = []
    for i, block in enumerate(decoder.block):
        attention = block.layer[0].SelfAttention
        h = _norm(op, f"{i}.attention.norm", block.layer[0].layer_norm, x, dtype)
        qkv = _linear(op, f"{i}.attention.qkv", h, attention.q, attention.k, attention.v)
        query, *entries = _split_heads(op, qkv, tokens, config, 3)  # [B,H,T,Dk] each
        key, value = (
            op.TensorScatter(cache, entry, write_index, axis=2)  # [B,H,M,Dk]
            for cache, entry in zip(caches[i], entries, strict=True)
        )
        updated += [(f"present_key.{i}", key), (f"present_value.{i}", value)]
        attended = _attention_of_each(op, query, key, value, bias, config)
        x = _add(op, x, _linear(op, f"{i}.attention.o", attended, attention.o))

        attention = block.layer[1].EncDecAttention
        h = _norm(op, f"{i}.cross.norm", block.layer[1].layer_norm, x, dtype)
        (query,) = _split_heads(op, _linear(op, f"{i}.cross.q", h, attention.q), tokens, config, 1)
        key, value = cross[i]
        attended = _attention_of_each(op, query, key, value, cross_bias, config)
        x = _add(op, x, _linear(op, f"{i}.cross.o", attended, attention.o))
        x = _add(op, x, _feed_forward(op, f"{i}.feed_forward", block.layer[2], config, x, dtype))
    x = _norm(op, "norm", decoder.final_layer_norm, x, dtype)

    if config.tie_word_embeddings:
        # Transposed here so that the file holds the matrix once; the product reads it as it lies.
        logits = op.MatMul(op.Mul(x, config.d_model**-0.5), op.Transpose(embedding, perm=[1, 0]))
    else:
        logits = _linear(op, "lm_head", x, model.lm_head)
    logits = _cast(op, logits, FLOAT)  # [N,V]
    logprobs = op.LogSoftmax(logits, axis=-1)
    next_id = _argmax(op, logits, config.vocab_size)  # [N,1]
    shape = op.Shape(input_ids)

    def logprob(ids: ir.Value) -> ir.Value:
        return op.Reshape(op.GatherElements(logprobs, ids, axis=1), shape)  # [B,T]

    _output(builder, "next_id", op.Reshape(next_id, shape), INT64, ["B", "T"])
    _output(builder, "next_logprob", logprob(next_id), FLOAT, ["B", "T"])
    target_id = op.Reshape(target_ids, [-1, 1])
    _output(builder, "target_logprob", logprob(target_id), FLOAT, ["B", "T"])
    for name, cache in updated:
        _output(builder, name, cache, dtype, cache_shape)
    return ir.Model(builder.graph, ir_version=IR_VERSION)


def _argmax(op: OpBuilder, logits: ir.Value, vocab_size: int) -> ir.Value:
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


def geometry_of(config: T5Config) -> Geometry:
    """The shapes and token ids that running the graphs needs."""
    names = {
        "d_model": "d_model",
        "encoder_layers": "num_layers",
        "decoder_layers": "num_decoder_layers",
        "heads": "num_heads",
        "head_dim": "d_kv",
        "vocab_size": "vocab_size",
        "pad_id": "pad_token_id",
        "eos_id": "eos_token_id",
        "decoder_start_id": "decoder_start_token_id",
    }
    return Geometry(**{ours: getattr(config, theirs) for ours, theirs in names.items()})


def _builder(name: str) -> GraphBuilder:
    return GraphBuilder(ir.Graph([], [], nodes=[], name=name, opset_imports={"": OPSET}))


def _output(
    builder: GraphBuilder, name: str, value: ir.Value, dtype: ir.DataType, shape: list[str | int]
) -> None:
    value.dtype = dtype
    value.shape = ir.Shape(shape)
    builder.add_output(value, name)


def _weight(op: OpBuilder, name: str, weight: torch.Tensor, dtype: ir.DataType) -> ir.Value:
    tensor = weight.detach().to(ir.tensor_adapters.to_torch_dtype(dtype)).contiguous()
    return op.initializer(ir.tensor(tensor), name)


def _cast(op: OpBuilder, x: ir.Value, dtype: ir.DataType) -> ir.Value:
    return x if x.dtype == dtype else op.Cast(x, to=dtype)


def _hidden(dtype: ir.DataType) -> float:
    """The bias of what is not attended to: half the lowest number, so no sum with it overflows."""
    return torch.finfo(ir.tensor_adapters.to_torch_dtype(dtype)).min / 2


def _linear(op: OpBuilder, name: str, x: ir.Value, *linears: nn.Linear) -> ir.Value:
    """x [N,D] through several linears without bias as one product, results side by side."""
    weight = torch.cat([linear.weight for linear in linears]).T  # [D, sum of outputs]
    assert x.dtype is not None
    return op.MatMul(x, _weight(op, name, weight, x.dtype))


def _add(op: OpBuilder, x: ir.Value, branch: ir.Value) -> ir.Value:
    """The residual stream x, in fp32, and what a layer adds to it."""
    return op.Add(x, _cast(op, branch, FLOAT))


def _norm(op: OpBuilder, name: str, norm: T5LayerNorm, x: ir.Value, dtype: ir.DataType) -> ir.Value:
    weight = _weight(op, name, norm.weight, FLOAT)
    return _cast(op, op.RMSNormalization(x, weight, epsilon=norm.variance_epsilon), dtype)


def _attention(
    op: OpBuilder, query: ir.Value, key: ir.Value, value: ir.Value, bias: ir.Value
) -> ir.Value:
    """Queries [B,H,T,Dk] over keys and values [B,H,M,Dk] to [B,H,T,Dk]."""
    return op.Attention(query, key, value, bias, scale=1.0, softmax_precision=FLOAT)


def _attention_of_each(
    op: OpBuilder,
    query: ir.Value,
    key: ir.Value,
    value: ir.Value,
    bias: ir.Value,
    config: T5Config,
) -> ir.Value:
    """Queries [B,H,T,Dk] over keys and values [B,H,M,Dk] to [N,H*Dk], one query at a time.

    A matrix of one row goes through another kernel than a matrix of several, with other last digits.
    So the T queries of a head are heads of their own, of a group (Ainslie et al., 2023) that shares
    keys and values.
    """
    query = op.Reshape(query, [0, -1, 1, config.d_kv])  # [B,H*T,1,Dk]
    attended = _attention(op, query, key, value, bias)
    return _merge_heads(op, op.Reshape(attended, [0, config.num_heads, -1, config.d_kv]), config)


def _feed_forward(
    op: OpBuilder, name: str, layer: T5LayerFF, config: T5Config, x: ir.Value, dtype: ir.DataType
) -> ir.Value:
    dense: Any = layer.DenseReluDense
    h = _norm(op, f"{name}.norm", layer.layer_norm, x, dtype)
    if config.is_gated_act:
        h = _linear(op, f"{name}.wi", h, dense.wi_0, dense.wi_1)
        gate, linear = op.Split(h, axis=-1, num_outputs=2, _outputs=2)
        h = op.Mul(_activation(op, config.dense_act_fn, gate), linear)
    else:
        h = _activation(op, config.dense_act_fn, _linear(op, f"{name}.wi", h, dense.wi))
    return _linear(op, f"{name}.wo", _cast(op, h, FLOAT), dense.wo)


def _activation(op: OpBuilder, name: str, x: ir.Value) -> ir.Value:
    match name:
        case "relu":
            return op.Relu(x)
        case "gelu_new":
            return op.Gelu(x, approximate="tanh")
    raise UnsupportedModelError(f"the activation {name!r} is not one of T5's: relu, gelu_new")


def _split_heads(
    op: OpBuilder, x: ir.Value, tokens: ir.Value, config: T5Config, parts: int
) -> list[ir.Value]:
    """x [N,parts*H*Dk] of rows of T = `tokens` [1] tokens to parts of [B,H,T,Dk]."""
    shape = op.Concat([-1], tokens, [parts * config.num_heads, config.d_kv], axis=0)
    x = op.Transpose(op.Reshape(x, shape), perm=[0, 2, 1, 3])
    if parts == 1:
        return [x]
    return list(op.Split(x, axis=1, num_outputs=parts, _outputs=parts))


def _merge_heads(op: OpBuilder, x: ir.Value, config: T5Config) -> ir.Value:
    """[B,H,T,Dk] to [N,H*Dk]."""
    return op.Reshape(op.Transpose(x, perm=[0, 2, 1, 3]), [-1, config.num_heads * config.d_kv])


def _attended(op: OpBuilder, mask: ir.Value) -> ir.Value:
    """A mask of ones and zeros [B,S] as booleans [B,1,1,S]."""
    return op.Cast(op.Unsqueeze(mask, [1, 2]), to=BOOL)


def _relative_bias(
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
    table = _weight(op, "relative_bias", attention.relative_attention_bias.weight[buckets], dtype)
    rows = op.Add(op.Clip(relative, -furthest, ahead), furthest)
    return op.Transpose(op.Gather(table, rows), perm=[0, 3, 1, 2])  # from [B,T,M,H]
