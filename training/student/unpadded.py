"""T5 without padding: its layers compute the tokens of both passes in a row, and no others.

Only attention, a few percent of a step's work, needs rows of the same length. Everything else in
T5 looks at one token at a time. So here it gets tokens as [N,D], where transformers gives it
[B,S,D] with padding. N is rounded up by at most an eighth, with fillers that no token attends to.
The outputs are those of transformers; a test compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import T5ForConditionalGeneration

from training.student.onednn import OneDNNLinear
from training.student.passes import IGNORED, Pass

Layout = list["Rows"]  # of one stack: a pass after the other


@dataclass(frozen=True)
class Rows:
    """The places [N] of the tokens of padded rows, among all B·T places."""

    shape: tuple[int, int]  # B, T
    places: Tensor
    visible: Tensor  # [B,T]

    @classmethod
    def where(cls, visible: Tensor) -> Rows:
        return cls(
            (visible.shape[0], visible.shape[1]), visible.flatten().nonzero().squeeze(1), visible
        )

    def pad(self, tokens: Tensor) -> Tensor:
        """[N,…] -> [B,T,…], zeros where there is no token."""
        padded = tokens.new_zeros(self.shape[0] * self.shape[1], *tokens.shape[1:])
        return padded.index_copy(0, self.places, tokens).unflatten(0, self.shape)

    def unpad(self, padded: Tensor) -> Tensor:
        return padded.flatten(0, 1).index_select(0, self.places)


class UnpaddedT5(T5ForConditionalGeneration):
    """transformers' T5. Called with `passes`, it returns a list of `Pass` instead, one for each.

    A batch in `passes` has `input_ids` and `attention_mask` [B,S], `decoder_input_ids` and `labels`
    [B,T].
    """

    def forward(self, *args: Any, passes: Sequence[dict[str, Tensor]] = (), **kwargs: Any) -> Any:
        if not passes:
            return super().forward(*args, **kwargs)
        with OneDNNLinear():
            return self._passes(passes)

    def _passes(self, passes: Sequence[dict[str, Tensor]]) -> list[Pass]:
        # of a row without a target the first token is enough, so that no row is empty
        aimed = [(one["labels"] != IGNORED).any(dim=1, keepdim=True) for one in passes]
        sources = [
            Rows.where(_all_or_first(one["attention_mask"].bool(), rows))
            for rows, one in zip(aimed, passes, strict=True)
        ]
        targets = [
            Rows.where(_all_or_first(_read(one["labels"]), rows))
            for rows, one in zip(aimed, passes, strict=True)
        ]

        ids = [rows.unpad(one["input_ids"]) for rows, one in zip(sources, passes, strict=True)]
        encoded = _run(self.encoder, _joined(ids), sources)
        ids = [
            rows.unpad(one["decoder_input_ids"]) for rows, one in zip(targets, passes, strict=True)
        ]
        states = _run(self.decoder, _joined(ids), targets, encoded, sources)
        there = [
            rows.unpad(one["labels"]) != IGNORED for rows, one in zip(targets, passes, strict=True)
        ]
        scaled = states * self.config.d_model**-0.5 if _is_scaled(self.config) else states
        logits = self.lm_head(scaled[_joined([torch.cat(there).nonzero().squeeze(1)])])
        # one softmax for all that an objective asks of a pass
        log_probs = F.log_softmax(logits.float(), dim=-1)
        counts = [int(one.sum()) for one in there]
        of_passes = zip(
            targets, _parted(states, targets), _split(log_probs, counts), passes, strict=True
        )
        return [
            Pass(None, one["labels"], rows.pad(last), of_targets)
            for rows, last, of_targets, one in of_passes
        ]


def _all_or_first(visible: Tensor, rows: Tensor) -> Tensor:
    """[B,T]: what is visible, in `rows` [B,1]; the first place, in other rows."""
    first = F.pad(torch.zeros_like(visible[:, 1:]), (1, 0), value=True)
    return torch.where(rows, visible, first)


def _read(labels: Tensor) -> Tensor:
    """[B,T]: the places of targets, and those before them."""
    return (labels != IGNORED).flip(1).cumsum(1).flip(1) > 0


def _is_scaled(config: Any) -> bool:
    # transformers 5 ties the embeddings of all, and keeps in this what the checkpoint said
    return bool(getattr(config, "scale_decoder_outputs", config.tie_word_embeddings))


def _joined(ids: list[Tensor]) -> Tensor:
    """The tokens of all passes, with fillers up to one of a few lengths.

    oneDNN compiles kernels of 0.7 MB for each length. So only eight lengths are used between a
    power of two and the next.
    """
    together = torch.cat(ids)
    grain = 1 << max(0, len(together).bit_length() - 4)
    return F.pad(together, (0, -len(together) % grain))


def _split(tokens: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """The parts of `sizes`, without the fillers."""
    return tokens.split([*sizes, len(tokens) - sum(sizes)])[:-1]


def _parted(tokens: Tensor, layout: Layout) -> tuple[Tensor, ...]:
    return _split(tokens, [len(rows.places) for rows in layout])


def _run(
    stack: Any,
    ids: Tensor,
    layout: Layout,
    encoded: Tensor | None = None,
    encoded_layout: Layout | None = None,
) -> Tensor:
    """[N] ids -> [N,D]: a whole stack. It is a decoder if it gets an encoder's output."""
    hidden = stack.dropout(stack.embed_tokens(ids))
    biases = _self_biases(stack, layout, hidden.dtype)
    if encoded_layout is not None:
        cross_biases = [_hide(~rows.visible[:, None, None, :], hidden) for rows in encoded_layout]
    for block in stack.block:
        layer = block.layer[0]
        x = layer.layer_norm(hidden)
        hidden = hidden + layer.dropout(_attend(layer.SelfAttention, x, layout, x, layout, biases))
        if encoded is not None:
            assert encoded_layout is not None
            layer = block.layer[1]
            x = layer.layer_norm(hidden)
            attended = _attend(
                layer.EncDecAttention, x, layout, encoded, encoded_layout, cross_biases
            )
            hidden = hidden + layer.dropout(attended)
        hidden = block.layer[-1](hidden)
    return stack.dropout(stack.final_layer_norm(hidden))


def _self_biases(stack: Any, layout: Layout, dtype: torch.dtype) -> list[Tensor]:
    """For each pass [B,H,T,T]: the relative bias, and what a token must not see."""
    biases = []
    for rows in layout:
        length = rows.shape[1]
        bias = stack.block[0].layer[0].SelfAttention.compute_bias(length, length)  # [1,H,T,T]
        hidden = ~rows.visible[:, None, None, :]
        if stack.is_decoder:
            hidden = hidden | torch.ones_like(bias[:1, :1], dtype=torch.bool).triu(1)
        biases.append(bias + _hide(hidden, bias))
    return biases


def _hide(hidden: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill(
        hidden, torch.finfo(like.dtype).min
    )


def _attend(
    attention: Any,
    queries: Tensor,
    layout: Layout,
    keys: Tensor,
    key_layout: Layout,
    biases: Sequence[Tensor],
) -> Tensor:
    """[N,D] and [M,D] -> [N,D]: each row of a pass attends to the same row of `keys`."""
    q = _parted(attention.q(queries), layout)
    k = _parted(attention.k(keys), key_layout)
    v = _parted(attention.v(keys), key_layout)

    def heads(rows: Rows, tokens: Tensor) -> Tensor:  # [N,H·Dk] -> [B,H,T,Dk]
        padded = rows.pad(tokens)
        return padded.unflatten(2, (attention.n_heads, -1)).transpose(1, 2)

    outputs = []
    for i, (rows, key_rows) in enumerate(zip(layout, key_layout, strict=True)):
        scores = heads(rows, q[i]) @ heads(key_rows, k[i]).transpose(2, 3) + biases[i]
        weights = scores.float().softmax(dim=-1).type_as(scores)
        weights = nn.functional.dropout(weights, attention.dropout, attention.training)
        mixed = (weights @ heads(key_rows, v[i])).transpose(1, 2).flatten(2)  # [B,T,H·Dk]
        outputs.append(rows.unpad(mixed))
    fillers = queries.new_zeros(len(queries) - sum(map(len, outputs)), outputs[0].shape[1])
    return attention.o(torch.cat([*outputs, fillers]))
