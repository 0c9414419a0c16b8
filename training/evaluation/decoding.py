"""Greedy texts and the probabilities of labels, by torch, for several prompts at once.

All are as the service defines them, and are told of whole sequences, the end token included.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import LogitsProcessor, LogitsProcessorList, T5ForConditionalGeneration

from training.data.batches import IGNORED

BATCH_TOKENS = 16_384  # of prompts and what may be written after them, padding included
SCORED_TOKENS = 1024  # of labels at once: each takes memory for the whole vocabulary's logits

Ids = Sequence[int]


def batches_of(sizes: Sequence[int], written: int) -> Iterator[list[int]]:
    """The places of prompts in batches, those of like sizes together, the longest first.

    `written` is how many tokens may come after each.
    """
    batch: list[int] = []
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        if batch and (len(batch) + 1) * (sizes[batch[0]] + written) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


@torch.inference_mode()
def generate(
    model: T5ForConditionalGeneration,
    prompts: Sequence[Ids],
    max_new_tokens: int,
    given: Sequence[Ids] | None = None,
) -> list[tuple[list[int], float]]:
    """For each prompt, the greedy tokens after it, and the log-probability of all of them.

    The decoder reads those `given` first, which are not returned.
    """
    input_ids, mask = _padded(model, prompts)
    start_id: Any = model.config.decoder_start_token_id
    # padding before what the decoder reads, so that all texts begin at the same place
    reads = [[*reversed(read), start_id] for read in given or [[]] * len(prompts)]
    read, read_mask = (tensor.flip(1) for tensor in _padded(model, reads))
    logprobs = _GreedyLogprobs()
    decoded: Any = model.generate(
        input_ids=input_ids,
        attention_mask=mask,
        decoder_input_ids=read,
        decoder_attention_mask=read_mask,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=1,
        logits_processor=LogitsProcessorList([logprobs]),
    )
    steps = torch.stack(logprobs.steps, dim=1).tolist()  # [B,T]
    end = model.config.eos_token_id
    texts = []
    for tokens, row in zip(decoded[:, read.shape[1] :].tolist(), steps, strict=True):
        length = tokens.index(end) + 1 if end in tokens else len(tokens)
        texts.append((tokens[:length], sum(row[:length])))
    return texts


class _GreedyLogprobs(LogitsProcessor):
    """Notes the log-probability of the likeliest token of every step, and changes nothing.

    transformers itself would keep the logits of all steps, whose memory nothing bounds.
    """

    def __init__(self) -> None:
        self.steps: list[Tensor] = []  # [B] each

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.steps.append(scores.amax(-1) - scores.logsumexp(-1))
        return scores


@torch.inference_mode()
def score(
    model: T5ForConditionalGeneration, prompts: Sequence[Ids], labels: Sequence[Sequence[Ids]]
) -> list[Tensor]:
    """For each prompt, the log-probabilities [L] of its labels, given as tokens."""
    input_ids, mask = _padded(model, prompts)
    encoded = model.get_encoder()(input_ids=input_ids, attention_mask=mask)[0]
    start = model.config.decoder_start_token_id
    pairs = [(row, ids) for row, sets in enumerate(labels) for ids in sets]
    size = max(1, SCORED_TOKENS // max(len(ids) for _, ids in pairs))
    sums: list[Tensor] = []
    for some in (pairs[begin : begin + size] for begin in range(0, len(pairs), size)):
        rows = torch.tensor([row for row, _ in some], device=encoded.device)
        targets = _pad([ids for _, ids in some], IGNORED).to(encoded.device)
        # what stands below padding comes after a label's end, so that nothing sees it
        given = F.pad(targets[:, :-1].clamp(min=0), (1, 0), value=start)
        logits = model(
            encoder_outputs=(encoded[rows],), attention_mask=mask[rows], decoder_input_ids=given
        ).logits
        losses = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        sums.append(-losses.unflatten(0, targets.shape).sum(1))
    return list(torch.cat(sums).cpu().split([len(sets) for sets in labels]))


def _padded(model: T5ForConditionalGeneration, prompts: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """[B,S] tokens, and the mask of what is one."""
    pad_id: Any = model.config.pad_token_id
    mask = _pad([[1] * len(ids) for ids in prompts], 0)
    return _pad(prompts, pad_id).to(model.device), mask.to(model.device)


def _pad(sequences: Sequence[Ids], value: int) -> Tensor:
    tensors = [torch.tensor(sequence) for sequence in sequences]
    return pad_sequence(tensors, batch_first=True, padding_value=value)
