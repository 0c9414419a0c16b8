"""The parity gate: a bundle's graphs must give what transformers gives.

The graphs run here in the plainest way, one token a step with no bindings, so that this module is
also the reference that a faster engine is held against.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, T5ForConditionalGeneration

from export.bundle import DECODER, ENCODER, TOKENIZER, Geometry

TOLERANCE = 1e-4  # of log-probabilities
BATCH = 16

Feeds = dict[str, np.ndarray]


class ParityError(RuntimeError):
    """The graphs do not give what transformers gives. The message shows the first difference."""


class Voice(NamedTuple):
    """One of a student's two: the prefix of its prompts, and how long its texts may be."""

    prefix: str
    max_new_tokens: int


@dataclass(frozen=True)
class Parity:
    """What the gate measured, over `rows` inputs in each of the voices."""

    rows: int
    outputs: int
    equal: int
    near_ties: int  # the outputs that part where two tokens are equally probable, within TOLERANCE
    max_logprob_difference: float


class OnnxStudent:
    """Runs the graphs and the tokenizer of a bundle's folder on batches of prompts."""

    def __init__(self, folder: Path, geometry: Geometry, max_input_tokens: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors: it warns at each step that caches are copied
        self.geometry = geometry
        self.tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self.tokenizer.enable_truncation(max_input_tokens)
        self.encoder = onnxruntime.InferenceSession(folder / ENCODER, options)
        self.decoder = onnxruntime.InferenceSession(folder / DECODER, options)
        self.cross_names = [output.name for output in self.encoder.get_outputs()]
        self.cache_names = [output.name for output in self.decoder.get_outputs()[3:]]

    def tokens(self, prompts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(prompts))]

    def text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True).strip()

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[list[int]]:
        """Greedy tokens after each prompt, the end token included where it came in time."""
        feeds = self._encode(prompts) | self._empty_caches(len(prompts), max_new_tokens)
        token = np.full((len(prompts), 1), self.geometry.decoder_start_id)
        written: list[np.ndarray] = []
        ended = np.zeros(len(prompts), bool)
        while len(written) < max_new_tokens and not ended.all():
            token, _ = self._step(feeds, token, at=len(written), targets=token)
            written.append(token)
            ended |= token[:, 0] == self.geometry.eos_id
        return [until_end(row, self.geometry.eos_id) for row in np.hstack(written).tolist()]

    def write(self, texts: Sequence[str], voice: Voice) -> list[str]:
        """What a voice says of each of the rendered inputs."""
        outputs = self.generate([voice.prefix + text for text in texts], voice.max_new_tokens)
        return [self.text(tokens) for tokens in outputs]

    def score(self, prompts: Sequence[str], outputs: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """The log-probability of each token of each output after its prompt, in one step."""
        targets, _ = pad(outputs, self.geometry.pad_id)  # [B,T]
        start = np.full((len(outputs), 1), self.geometry.decoder_start_id)
        feeds = self._encode(prompts) | self._empty_caches(*targets.shape)
        _, logprobs = self._step(feeds, np.hstack([start, targets[:, :-1]]), at=0, targets=targets)
        return [row[: len(output)] for row, output in zip(logprobs, outputs, strict=True)]

    def _encode(self, prompts: Sequence[str]) -> Feeds:
        input_ids, mask = pad(self.tokens(prompts), self.geometry.pad_id)
        cross = self.encoder.run(None, {"input_ids": input_ids, "attention_mask": mask})
        return dict(zip(self.cross_names, cross, strict=True)) | {"cross_mask": mask}

    def _empty_caches(self, rows: int, width: int) -> Feeds:
        shape = (rows, self.geometry.heads, width, self.geometry.head_dim)
        zeros = np.zeros(shape, np.float32)
        return {name.removeprefix("present_"): zeros for name in self.cache_names}

    def _step(
        self, feeds: Feeds, tokens: np.ndarray, at: int, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Feeds a chain of tokens [B,T] that begins at place `at`, and updates the caches.

        Returns the arg-max after each token, and the log-probabilities of the targets: [B,T] both.
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


def check_parity(
    model: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    student: OnnxStudent,
    texts: Sequence[str],
    voices: Sequence[Voice],
) -> Parity:
    """Compares greedy tokens and their log-probabilities on `texts`, in each voice.

    Log-probabilities are those of transformers' own greedy tokens. Raises ParityError where tokens
    of input or output differ (other than by a near tie), or a log-probability by over TOLERANCE.
    """
    near_ties = 0
    wrong: list[str] = []
    differences: list[float] = []
    for voice in voices:
        for batch in _batches([voice.prefix + text for text in texts]):
            input_ids = _tokens(tokenizer, student, batch)
            expected, logprobs = _transformers(
                model, student.geometry, input_ids, voice.max_new_tokens
            )
            actual = student.generate(batch, voice.max_new_tokens)
            scores = student.score(batch, expected)
            for prompt, theirs, table, ours, score in zip(
                batch, expected, logprobs, actual, scores, strict=True
            ):
                differences.append(np.abs(table[np.arange(len(theirs)), theirs] - score).max())
                if ours == theirs:
                    continue
                if is_near_tie(ours, theirs, table):
                    near_ties += 1
                else:
                    wrong.append(
                        f"{prompt!r}: transformers says {student.text(theirs)!r} {theirs}, "
                        f"the graphs {student.text(ours)!r} {ours}"
                    )
    outputs = len(differences)
    if wrong:
        raise ParityError(
            f"{len(wrong)} of {outputs} greedy outputs differ; the first is for {wrong[0]}"
        )
    difference = float(np.max(differences))
    if not difference <= TOLERANCE:  # also where it is NaN
        raise ParityError(
            f"token log-probabilities differ by up to {difference:.2g}, more than {TOLERANCE:.0e}"
        )
    return Parity(len(texts), outputs, outputs - near_ties, near_ties, difference)


def is_near_tie(ours: Sequence[int], theirs: Sequence[int], logprobs: np.ndarray) -> bool:
    """Whether two greedy outputs part at tokens that are equally probable, within TOLERANCE.

    `logprobs` [T,V] are those after each token of `theirs`.
    """
    for place, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        if mine != other:
            return bool(abs(logprobs[place, mine] - logprobs[place, other]) <= TOLERANCE)
    return False


def until_end(tokens: list[int], eos_id: int) -> list[int]:
    """The tokens up to the first end token and with it."""
    return tokens[: tokens.index(eos_id) + 1] if eos_id in tokens else tokens


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows side by side [B,T], and the mask [B,T] of what is a token: 1, or padding: 0."""
    width = max(map(len, rows))
    padded = np.full((len(rows), width), pad_id)
    mask = np.zeros((len(rows), width), np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return padded, mask


def _batches(prompts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(prompts), BATCH):
        yield prompts[start : start + BATCH]


def _tokens(
    tokenizer: PreTrainedTokenizerBase, student: OnnxStudent, prompts: list[str]
) -> list[list[int]]:
    """The prompts' tokens, which must be the same by both tokenizers."""
    limit = student.tokenizer.truncation["max_length"]
    expected = tokenizer(prompts, truncation=True, max_length=limit)["input_ids"]
    for prompt, ours, theirs in zip(prompts, student.tokens(prompts), expected, strict=True):
        if ours != theirs:
            raise ParityError(
                f"the tokens of {prompt!r} are {theirs} to transformers, "
                f"but {ours} to the bundle's {TOKENIZER}"
            )
    return expected


@torch.inference_mode()
def _transformers(
    model: T5ForConditionalGeneration,
    geometry: Geometry,
    input_ids: list[list[int]],
    max_new_tokens: int,
) -> tuple[list[list[int]], np.ndarray]:
    """Transformers' greedy tokens, and all log-probabilities [B,T,V] along them."""
    padded, mask = map(torch.from_numpy, pad(input_ids, geometry.pad_id))
    decoded = model.generate(
        input_ids=padded,
        attention_mask=mask,
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
    )
    logits = model(input_ids=padded, attention_mask=mask, decoder_input_ids=decoded[:, :-1]).logits
    outputs = [until_end(row, geometry.eos_id) for row in decoded[:, 1:].tolist()]
    return outputs, logits.log_softmax(-1).numpy()
