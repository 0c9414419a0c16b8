"""Students of odd shapes, and steps of a decoder graph beside transformers."""

from typing import Any

import numpy as np
import torch

from export.reference import OnnxStudent, pad
from tests.support.tiny_students import Student

WIDTH = 48  # M, the entries of a cache


# Relative distances saturate early, so that the tests go far beyond. In some students, all heads
# together are as wide as the model, as in T5. In others they are not, as in flan-t5-small.
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


class Decoder:
    """A decoder. It keeps its caches from step to step, as an engine does."""

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
