"""Weights that 8-bit integers can hold, so that export in int8 changes none of them.

A row of a weight matrix [N,D] is an output channel, or a token of an embedding. It is rounded to
W[n] ≈ t[n] · w[n], with t[n] = max|W[n]| / 64 and w in [−64, 64] as int8 (see `export.quantize`).
Rounding a second time changes nothing.
"""

import numpy as np
import torch
from transformers import T5ForConditionalGeneration

WEIGHT_LEVELS = 64
SMALLEST = np.finfo(np.float32).tiny  # the scale of a row of zeros, which stay zeros


def quantize_weight(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The int8 values of a matrix [N,D], and the scale of each channel, which lie along `axis`."""
    largest = np.abs(weight).max(1 - axis, keepdims=True)
    scale = np.maximum(largest / WEIGHT_LEVELS, SMALLEST)
    return np.rint(weight / scale).astype(np.int8), scale.squeeze(1 - axis)


def round_weights(model: T5ForConditionalGeneration) -> None:
    """Rounds, in place, the weights of all linear layers and of the embedding of tokens."""
    layers = (torch.nn.Linear, torch.nn.Embedding)
    matrices = {
        layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, layers) and not name.endswith("relative_attention_bias")
    }  # one, where they are tied
    with torch.no_grad():
        for matrix in matrices:
            values, scale = quantize_weight(matrix.float().cpu().numpy(), axis=0)
            matrix.copy_(torch.from_numpy(values * scale[:, None]))
