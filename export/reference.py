"""Runs a student's graphs in the simplest way: one token per step, without bindings.

The parity gate uses it, and tests compare the engine with it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernelError  # noqa: F401
from tokenizers import Tokenizer

from export.bundle import DECODER, ENCODER, TOKENIZER, Geometry

CACHE_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

Feeds = dict[str, np.ndarray]
DecoderPrefixes = Sequence[Sequence[int]]  # tokens, by prompt


class OnnxStudent:
    """Runs the graphs and the tokenizer of a bundle's folder on batches of prompts.

    Raises NoKernelError if onnxruntime's CPU provider cannot run a graph in its precision.
    """

    def __init__(self, folder: Path, geometry: Geometry, max_input_tokens: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # only errors: it warns at each step that caches are copied
        self.geometry = geometry
        self.tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self.tokenizer.enable_truncation(max_input_tokens)
        self.encoder = onnxruntime.InferenceSession(folder / ENCODER, options)
        self.decoder = onnxruntime.InferenceSession(folder / DECODER, options)
        self.cross_names = [output.name for output in self.encoder.get_outputs()]
        caches = self.decoder.get_outputs()[3:]
        self.cache_names = [output.name for output in caches]
        self.cache_dtype = CACHE_DTYPES[caches[0].type]

    def tokens(self, prompts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(prompts))]

    def text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True).strip()

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        decoder_prefixes: DecoderPrefixes | None = None,
    ) -> list[list[int]]:
        """The greedy tokens after each prompt, with the end token if it comes in time.

        They do not include the decoder prefixes.
        """
        prefixes = decoder_prefixes or [[]] * len(prompts)
        width = max(map(len, prefixes)) + max_new_tokens
        feeds = self._encode(prompts) | self._empty_caches(len(prompts), width)
        token = np.full((len(prompts), 1), self.geometry.decoder_start_id)
        written: list[list[int]] = [[] for _ in prompts]
        for at in range(width):
            token, _ = self._step(feeds, token, at=at, targets=token)
            for row, (prefix, text) in enumerate(zip(prefixes, written, strict=True)):
                if at < len(prefix):
                    token[row] = prefix[at]
                else:
                    text.append(int(token[row, 0]))
            if all(self.geometry.eos_id in text for text in written):
                break
        return [until_end(text[:max_new_tokens], self.geometry.eos_id) for text in written]

    def score(
        self,
        prompts: Sequence[str],
        outputs: Sequence[Sequence[int]],
        decoder_prefixes: DecoderPrefixes | None = None,
    ) -> list[np.ndarray]:
        """The log-probabilities (nats) of each output's tokens, after prompt and decoder prefix."""
        prefixes = decoder_prefixes or [[]] * len(prompts)
        whole = [[*prefix, *output] for prefix, output in zip(prefixes, outputs, strict=True)]
        targets, _ = pad(whole, self.geometry.pad_id)  # [B,T]
        start = np.full((len(outputs), 1), self.geometry.decoder_start_id)
        feeds = self._encode(prompts) | self._empty_caches(*targets.shape)
        _, logprobs = self._step(feeds, np.hstack([start, targets[:, :-1]]), at=0, targets=targets)
        return [
            row[len(prefix) : len(tokens)]
            for row, prefix, tokens in zip(logprobs, prefixes, whole, strict=True)
        ]

    def choose(self, prompt: str, labels: Sequence[str]) -> int:
        """The index of the most probable label after a prompt, the first one of equals."""
        sums = [self.score([prompt], [output])[0].sum() for output in self.tokens(labels)]
        return int(np.argmax(sums))

    def _encode(self, prompts: Sequence[str]) -> Feeds:
        input_ids, mask = pad(self.tokens(prompts), self.geometry.pad_id)
        cross = self.encoder.run(None, {"input_ids": input_ids, "attention_mask": mask})
        return dict(zip(self.cross_names, cross, strict=True)) | {"cross_mask": mask}

    def _empty_caches(self, rows: int, width: int) -> Feeds:
        shape = (rows, self.geometry.heads, width, self.geometry.head_dim)
        zeros = np.zeros(shape, self.cache_dtype)
        return {name.removeprefix("present_"): zeros for name in self.cache_names}

    def _step(
        self, feeds: Feeds, tokens: np.ndarray, at: int, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Feeds a chain of tokens [B,T] from position `at` on, and updates the caches.

        Returns the most probable token after each token, and the targets' log-probabilities, [B,T].
        """
        rows, length = tokens.shape
        width = feeds["key.0"].shape[2]
        places = np.arange(at, at + length)
        entries = np.arange(width)
        visible = entries <= places[:, None]  # [T,M]
        next_id, _, logprobs, *caches = self.decoder.run(
            None,
            feeds
            | {
                "input_ids": tokens,
                "positions": np.tile(places, (rows, 1)),
                "write_index": np.full(rows, at),
                "cache_positions": np.tile(entries, (rows, 1)),
                "visible": np.tile(visible, (rows, 1, 1)),
                "target_ids": targets,
            },
        )
        for name, cache in zip(self.cache_names, caches, strict=True):
            feeds[name.removeprefix("present_")] = cache
        return next_id, logprobs


def until_end(tokens: list[int], eos_id: int) -> list[int]:
    """The tokens up to and with the first end token."""
    return tokens[: tokens.index(eos_id) + 1] if eos_id in tokens else tokens


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """The padded rows [B,T], and their mask [B,T]: 1 for a token, 0 for padding."""
    width = max(map(len, rows))
    padded = np.full((len(rows), width), pad_id)
    mask = np.zeros((len(rows), width), np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return padded, mask
