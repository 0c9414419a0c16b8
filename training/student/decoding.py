"""Greedy decoding by torch, and the log-probabilities of texts, for several prompts at once.

A text and its probability are as the service defines them: the end token counts. A *decoder prefix*
is what the decoder reads after its start token and before it writes, such as the label that a
rationale explains.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import LogitsProcessor, LogitsProcessorList, T5ForConditionalGeneration

from training.student.passes import IGNORED

BATCH_TOKENS = 16_384  # of prompts and of the longest texts after them, padding included
SCORED_TOKENS = 1024  # of labels at once: each token needs memory for the logits of all pieces

Ids = Sequence[int]


class Decoded(NamedTuple):
    """Greedy tokens, with padding after the end token, and their log-probabilities in nats."""

    tokens: Tensor  # [B,T]
    logprobs: Tensor  # [B,T]


def batches_of(sizes: Sequence[int], written: int) -> Iterator[list[int]]:
    """The positions of prompts in batches. Prompts of like sizes are together, the longest first.

    `written` is the most tokens that may come after each prompt.
    """
    batch: list[int] = []
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        if batch and (len(batch) + 1) * (sizes[batch[0]] + written) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def decode(
    model: T5ForConditionalGeneration,
    input_ids: Tensor,
    attention_mask: Tensor,
    max_new_tokens: int,
    decoder_prefixes: Sequence[Ids] | None = None,
) -> Decoded:
    """The greedy tokens after each row of `input_ids` [B,S], and after its decoder prefix."""
    start_id: Any = model.config.decoder_start_token_id
    prefixes = decoder_prefixes or [[]] * len(input_ids)
    # padding stands before a prefix, so that all texts begin at the same place
    read, read_mask = (
        tensor.flip(1)
        for tensor in _padded(model, [[*reversed(prefix), start_id] for prefix in prefixes])
    )
    logprobs = _GreedyLogprobs()
    decoded: Any = model.generate(
        input_ids=input_ids,
        attention_mask=attention_mask,
        decoder_input_ids=read,
        decoder_attention_mask=read_mask,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        logits_processor=LogitsProcessorList([logprobs]),
    )
    return Decoded(decoded[:, read.shape[1] :], torch.stack(logprobs.steps, dim=1))


@torch.inference_mode()
def generate(
    model: T5ForConditionalGeneration,
    prompts: Sequence[Ids],
    max_new_tokens: int,
    decoder_prefixes: Sequence[Ids] | None = None,
) -> list[tuple[list[int], float]]:
    """For each prompt, the greedy tokens after it, and the log-probability of all of them."""
    decoded = decode(model, *_padded(model, prompts), max_new_tokens, decoder_prefixes)
    end = model.config.eos_token_id
    texts = []
    for tokens, logprobs in zip(*(rows.tolist() for rows in decoded), strict=True):
        length = tokens.index(end) + 1 if end in tokens else len(tokens)
        texts.append((tokens[:length], sum(logprobs[:length])))
    return texts


class _GreedyLogprobs(LogitsProcessor):
    """Notes the log-probability of the likeliest token of every step, and changes nothing.

    transformers itself would keep the logits of all steps, which may need any amount of memory.
    """

    def __init__(self) -> None:
        self.steps: list[Tensor] = []  # [B] each

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.steps.append(scores.amax(-1) - scores.logsumexp(-1))
        return scores


@torch.inference_mode()
def log_distributions(
    model: T5ForConditionalGeneration,
    prompts: Sequence[Ids],
    texts: Sequence[Ids],
    decoder_prefixes: Sequence[Ids] | None = None,
) -> list[Tensor]:
    """For each prompt [T,V], the vocabulary's log-probabilities at the T tokens of its text."""
    input_ids, mask = _padded(model, prompts)
    start_id: Any = model.config.decoder_start_token_id
    prefixes = decoder_prefixes or [[]] * len(prompts)
    rows = list(zip(prefixes, texts, strict=True))
    # the padding stands after a text's end, so that no token of it sees it
    read, _ = _padded(model, [[start_id, *prefix, *text[:-1]] for prefix, text in rows])
    logits = model(input_ids=input_ids, attention_mask=mask, decoder_input_ids=read).logits
    return [
        row[len(prefix) : len(prefix) + len(text)].log_softmax(-1)
        for row, (prefix, text) in zip(logits, rows, strict=True)
    ]


@torch.inference_mode()
def score(
    model: T5ForConditionalGeneration, prompts: Sequence[Ids], labels: Sequence[Sequence[Ids]]
) -> list[Tensor]:
    """For each prompt, the log-probabilities [L] of its labels. A label is its token ids."""
    return score_labels(model, *_padded(model, prompts), labels)


def score_labels(
    model: T5ForConditionalGeneration,
    input_ids: Tensor,
    attention_mask: Tensor,
    labels: Sequence[Sequence[Ids]],
) -> list[Tensor]:
    """For each row of `input_ids` [B,S], the log-probabilities [L] of its labels, in nats.

    A label is its token ids. Its log-probability is the sum of those of its tokens, the end token
    included.
    """
    encoded = model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)[0]
    start = model.config.decoder_start_token_id
    pairs = [(row, ids) for row, sets in enumerate(labels) for ids in sets]
    size = max(1, SCORED_TOKENS // max(len(ids) for _, ids in pairs))
    sums: list[Tensor] = []
    for some in (pairs[begin : begin + size] for begin in range(0, len(pairs), size)):
        rows = torch.tensor([row for row, _ in some], device=encoded.device)
        targets = pad([ids for _, ids in some], IGNORED).to(encoded.device)
        # padding comes after a label's end, so no token of the label sees it
        read = F.pad(targets[:, :-1].clamp(min=0), (1, 0), value=start)
        logits = model(
            encoder_outputs=(encoded[rows],),
            attention_mask=attention_mask[rows],
            decoder_input_ids=read,
        ).logits
        losses = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        sums.append(-losses.unflatten(0, targets.shape).sum(1))
    return list(torch.cat(sums).cpu().split([len(sets) for sets in labels]))


def likeliest(logprobs: Tensor) -> int:
    """The place of the best of a row's labels [L]: the first, if several are equally likely."""
    return int(logprobs.argmax())


def pad(rows: Sequence[Ids], value: int) -> Tensor:
    """[B,T]: rows side by side, the shorter ones filled up with `value`."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def _padded(model: T5ForConditionalGeneration, rows: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """The tokens [B,S], padded, on the model's device, and the mask [B,S] of the real ones."""
    pad_id: Any = model.config.pad_token_id
    mask = pad([[1] * len(row) for row in rows], 0)
    return pad(rows, pad_id).to(model.device), mask.to(model.device)
