"""The two ONNX graphs of a T5 student (Raffel et al., 2020), at opset 24.

Names and shapes, with B rows, S input tokens, T new tokens a row, M cache entries, H heads of
Dk values, and one pair of caches for each decoder layer l = 0, 1, ...:

encoder
    in   input_ids [B,S] i64, attention_mask [B,S] i64 (1: a token, 0: padding)
    out  cross_key.l, cross_value.l [B,H,S,Dk]
decoder: one step
    in   input_ids [B,T] i64        the new tokens
         positions [B,T] i64        the position of each in its own sequence
         write_index [B] i64        the cache index at which a row's T new entries are written
         cache_positions [B,M] i64  the position of every cache entry in its sequence
         visible [B,T,M] bool       the cache entries, with new ones, that a token attends to
         cross_key.l, cross_value.l [B,H,S,Dk], cross_mask [B,S] i64   from the encoder
         key.l, value.l [B,H,M,Dk]  the caches
         target_ids [B,T] i64       the tokens whose log-probability is asked for
    out  next_id [B,T] i64, next_logprob [B,T], target_logprob [B,T]
         present_key.l, present_value.l [B,H,M,Dk]

The input cache is `key.l` and the output cache `present_key.l`, because ONNX names are unique. Bind
both to one buffer to update it in place. Caches must be finite from the start (zeros): an invisible
entry has the weight 0, but 0 times NaN is NaN.

Tokens may have any position. So one graph decodes (T = 1), verifies a chain of T tokens, and scores
a tree, in which siblings share a position and attend to their ancestors and themselves only.

The output for a token depends only on its own sequence, to the last bit: not on other rows, and not
on T, M and S. So activations are rows [N,D], one for each of the N = B*T tokens, and in the
decoder's attention each token is a query by itself.

Precisions: `fp32`; `int8` (see `export.quantize`); `fp16` and `bf16`, for GPUs. The last two hold
weights, activations, keys and values in 16 bits. Like transformers, they keep in fp32 what would
overflow or lose too much: the residual stream, the norms, the feed-forward's output projection and
its weight, the softmax of attention, and the logits and all after them. Log-probabilities are
always fp32. onnxruntime's CPU provider runs fp16 slowly. It cannot run bf16: it has no bf16 kernels
of MatMul, Mul, Where, Expand, Relu, Gelu and Attention.
"""

from typing import Any

import onnx_ir as ir
from onnxscript import GraphBuilder
from transformers import T5Config, T5ForConditionalGeneration

from export.bundle import DECODER, ENCODER, Geometry, Precision
from export.layers import (
    BOOL,
    FLOAT,
    INT64,
    add_residual,
    argmax,
    attend,
    attend_each,
    boolean_mask,
    cast,
    feed_forward,
    hidden_bias,
    initializer,
    merge_heads,
    project,
    relative_bias,
    rms_norm,
    split_heads,
)
from export.quantize import EMBEDDING, quantize

OPSET = 24
IR_VERSION = 11  # the IR of opset 24

DTYPES: dict[Precision, ir.DataType] = {
    "fp32": FLOAT,
    "int8": FLOAT,
    "fp16": ir.DataType.FLOAT16,
    "bf16": ir.DataType.BFLOAT16,
}  # types of activations, keys and values


def build_graphs(model: T5ForConditionalGeneration, precision: Precision) -> dict[str, ir.Model]:
    """Both graphs, by the names of their files. Raises UnsupportedModelError."""
    dtype = DTYPES[precision]
    graphs = {ENCODER: build_encoder(model, dtype), DECODER: build_decoder(model, dtype)}
    if precision == "int8":
        for graph in graphs.values():
            quantize(graph)
    return graphs


def build_encoder(model: T5ForConditionalGeneration, dtype: ir.DataType = FLOAT) -> ir.Model:
    """The encoder: from input tokens to the keys and values for the decoder's cross attention.

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
    bias = relative_bias(op, encoder.block[0].layer[0].SelfAttention, relative, dtype)  # [1,H,S,S]
    bias = op.Where(boolean_mask(op, attention_mask), bias, hidden_bias(dtype))  # [B,H,S,S]

    length = op.Shape(input_ids, start=1, end=2)
    embedding = initializer(op, EMBEDDING, model.shared.weight, dtype)  # [V,D]
    x = cast(op, op.Gather(embedding, op.Reshape(input_ids, [-1])), FLOAT)  # [N,D]
    for i, block in enumerate(encoder.block):
        attention = block.layer[0].SelfAttention
        h = rms_norm(op, f"{i}.attention.norm", block.layer[0].layer_norm, x, dtype)
        qkv = project(op, f"{i}.attention.qkv", h, attention.q, attention.k, attention.v)
        query, key, value = split_heads(op, qkv, length, config, 3)
        attended = attend(op, query, key, value, bias)
        attended = merge_heads(op, attended, config)
        x = add_residual(op, x, project(op, f"{i}.attention.o", attended, attention.o))
        x = add_residual(
            op, x, feed_forward(op, f"{i}.feed_forward", block.layer[1], config, x, dtype)
        )
    x = rms_norm(op, "norm", encoder.final_layer_norm, x, dtype)

    cross = [block.layer[1].EncDecAttention for block in model.decoder.block]
    keys_values = [linear for attention in cross for linear in (attention.k, attention.v)]
    h = project(op, "cross", x, *keys_values)  # [N,L*2*H*Dk]
    names = [f"cross_{kind}.{i}" for i in range(len(cross)) for kind in ("key", "value")]
    for name, value in zip(names, split_heads(op, h, length, config, len(names)), strict=True):
        _output(builder, name, value, dtype, ["B", config.num_heads, "S", config.d_kv])
    return ir.Model(builder.graph, ir_version=IR_VERSION)


def build_decoder(model: T5ForConditionalGeneration, dtype: ir.DataType = FLOAT) -> ir.Model:
    """The decoder's step: T new tokens of each row, each through all decoder layers.

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
    bias = relative_bias(op, decoder.block[0].layer[0].SelfAttention, relative, dtype)
    bias = op.Where(op.Unsqueeze(visible, 1), bias, hidden_bias(dtype))  # [B,H,T,M]
    bias = op.Reshape(bias, [0, -1, 1, 0])  # [B,H*T,1,M]
    cross_bias = op.Where(boolean_mask(op, cross_mask), 0.0, hidden_bias(dtype))
    cross_bias = cast(op, cross_bias, dtype)  # [B,1,1,S]

    tokens = op.Shape(input_ids, start=1, end=2)  # T
    embedding = initializer(op, EMBEDDING, model.shared.weight, dtype)  # [V,D]
    x = cast(op, op.Gather(embedding, op.Reshape(input_ids, [-1])), FLOAT)  # [N,D]
    updated = []
    for i, block in enumerate(decoder.block):
        attention = block.layer[0].SelfAttention
        h = rms_norm(op, f"{i}.attention.norm", block.layer[0].layer_norm, x, dtype)
        qkv = project(op, f"{i}.attention.qkv", h, attention.q, attention.k, attention.v)
        query, *entries = split_heads(op, qkv, tokens, config, 3)  # [B,H,T,Dk] each
        key, value = (
            op.TensorScatter(cache, entry, write_index, axis=2)  # [B,H,M,Dk]
            for cache, entry in zip(caches[i], entries, strict=True)
        )
        updated += [(f"present_key.{i}", key), (f"present_value.{i}", value)]
        attended = attend_each(op, query, key, value, bias, config)
        x = add_residual(op, x, project(op, f"{i}.attention.o", attended, attention.o))

        attention = block.layer[1].EncDecAttention
        h = rms_norm(op, f"{i}.cross.norm", block.layer[1].layer_norm, x, dtype)
        (query,) = split_heads(op, project(op, f"{i}.cross.q", h, attention.q), tokens, config, 1)
        key, value = cross[i]
        attended = attend_each(op, query, key, value, cross_bias, config)
        x = add_residual(op, x, project(op, f"{i}.cross.o", attended, attention.o))
        x = add_residual(
            op, x, feed_forward(op, f"{i}.feed_forward", block.layer[2], config, x, dtype)
        )
    x = rms_norm(op, "norm", decoder.final_layer_norm, x, dtype)

    if config.tie_word_embeddings:
        # Transposed here, so the file holds the matrix once.
        logits = op.MatMul(op.Mul(x, config.d_model**-0.5), op.Transpose(embedding, perm=[1, 0]))
    else:
        logits = project(op, "lm_head", x, model.lm_head)
    logits = cast(op, logits, FLOAT)  # [N,V]
    logprobs = op.LogSoftmax(logits, axis=-1)
    next_id = argmax(op, logits, config.vocab_size)  # [N,1]
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


def geometry_of(config: T5Config) -> Geometry:
    """The shapes and token ids that are needed to run the graphs."""
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
