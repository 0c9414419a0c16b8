"""A bundle's student in transformers, rebuilt from the weights of the bundle's graphs."""

from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from export.bundle import DECODER, ENCODER, TOKENIZER
from export.graphs import build_graphs
from export.verify import read
from tests.support.tiny_students import Student

Weights = dict[str, torch.Tensor]


def rebuilt_student(folder: Path) -> Student:
    """The student of an fp32 bundle of T5's first family. Asserts that it exports to its graphs."""
    geometry = read(folder).manifest.model
    encoder, decoder = (weights(ir.load(folder / name)) for name in (ENCODER, DECODER))
    model = T5ForConditionalGeneration(
        T5Config(
            d_model=geometry.d_model,
            d_kv=geometry.head_dim,
            d_ff=len(encoder["0.feed_forward.wo"]),
            num_layers=geometry.encoder_layers,
            num_decoder_layers=geometry.decoder_layers,
            num_heads=geometry.heads,
            vocab_size=geometry.vocab_size,
            relative_attention_max_distance=len(decoder["relative_bias"]) - 1,
            pad_token_id=geometry.pad_id,
            eos_token_id=geometry.eos_id,
            decoder_start_token_id=geometry.decoder_start_id,
        )
    ).eval()
    with torch.no_grad():
        model.shared.weight.copy_(encoder["embedding"])
        _fill(model.encoder, encoder)
        _fill(model.decoder, decoder)
        of_each_layer = encoder["cross"].T.chunk(2 * geometry.decoder_layers)
        for i, block in enumerate(model.decoder.block):
            block.layer[1].EncDecAttention.k.weight.copy_(of_each_layer[2 * i])
            block.layer[1].EncDecAttention.v.weight.copy_(of_each_layer[2 * i + 1])
    for name, graph in build_graphs(model, "fp32").items():
        again = weights(graph)
        for key, weight in (encoder if name == ENCODER else decoder).items():
            assert torch.equal(again[key], weight), key
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / TOKENIZER), pad_token="<pad>", eos_token="</s>"
    )
    return Student(model, tokenizer)


def weights(graph: ir.Model) -> Weights:
    return {
        name: torch.from_numpy(value.const_value.numpy().copy())
        for name, value in graph.graph.initializers.items()
        if value.const_value is not None and not name.startswith("const_")
    }


def _fill(stack: Any, weights: Weights) -> None:
    """Sets the weights of the encoder's or the decoder's layers, except those of the cross keys."""
    for i, block in enumerate(stack.block):
        attention = block.layer[0].SelfAttention
        parts = weights[f"{i}.attention.qkv"].T.chunk(3)
        for linear, part in zip((attention.q, attention.k, attention.v), parts, strict=True):
            linear.weight.copy_(part)
        attention.o.weight.copy_(weights[f"{i}.attention.o"].T)
        block.layer[0].layer_norm.weight.copy_(weights[f"{i}.attention.norm"])
        if attention.is_decoder:
            cross = block.layer[1].EncDecAttention
            cross.q.weight.copy_(weights[f"{i}.cross.q"].T)
            cross.o.weight.copy_(weights[f"{i}.cross.o"].T)
            block.layer[1].layer_norm.weight.copy_(weights[f"{i}.cross.norm"])
        dense = block.layer[-1].DenseReluDense
        dense.wi.weight.copy_(weights[f"{i}.feed_forward.wi"].T)
        dense.wo.weight.copy_(weights[f"{i}.feed_forward.wo"].T)
        block.layer[-1].layer_norm.weight.copy_(weights[f"{i}.feed_forward.norm"])
    stack.final_layer_norm.weight.copy_(weights["norm"])
    attention = stack.block[0].layer[0].SelfAttention
    furthest = attention.relative_attention_max_distance
    buckets = attention._relative_position_bucket(
        torch.arange(-furthest, len(weights["relative_bias"]) - furthest),
        bidirectional=not attention.is_decoder,
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=furthest,
    )
    attention.relative_attention_bias.weight[buckets] = weights["relative_bias"]
