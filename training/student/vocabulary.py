"""Trims a pretrained student's vocabulary to the pieces that its texts need."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

from training.student.files import StudentError

CHUNK = 1000  # texts that are tokenized at a time: encodings take much memory
BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # a piece of SentencePiece's byte fallback


def trim_vocabulary(
    model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, texts: list[str]
) -> Tokenizer:
    """The tokenizer with the pieces of `texts`, and those that other texts can be written in.

    The embeddings and the output projection of `model` are changed in place. Raises StudentError
    for a tokenizer that is neither Unigram nor BPE.

    Each of `texts` keeps its pieces. The best segmentation of a Unigram model (arXiv 1804.10959) is
    still the best among fewer, and BPE (arXiv 1508.07909) keeps every merge that it made. Single
    characters, or bytes, are kept. So any other text is written without the unknown token, if it
    was before, in smaller pieces. The order of the pieces stays.
    """
    backend = tokenizer.backend_tokenizer
    state = json.loads(backend.to_str())
    essential = {
        model.config.decoder_start_token_id,
        tokenizer.pad_token_id,
        tokenizer.eos_token_id,
        tokenizer.unk_token_id,
    }
    used = set(chain.from_iterable(_ids(backend, texts)))
    kept = sorted(_kept(state, used | essential - {None}))
    trimmed = Tokenizer.from_str(json.dumps(_only(kept, state)))
    for before, after in zip(_ids(backend, texts), _ids(trimmed, texts), strict=True):
        if before != [kept[token] for token in after]:
            raise StudentError("with fewer pieces this tokenizer would read texts otherwise")
    _keep_rows(model, kept)
    return trimmed


def _ids(tokenizer: Tokenizer, texts: list[str]) -> Iterator[list[int]]:
    for start in range(0, len(texts), CHUNK):
        for encoding in tokenizer.encode_batch_fast(texts[start : start + CHUNK]):
            yield encoding.ids


def _kept(state: dict[str, Any], needed: set[int]) -> set[int]:
    """The ids of the pieces that stay, of a tokenizer's JSON."""
    model, added = state["model"], state["added_tokens"]
    special = {token["content"] for token in added if token["special"]}
    needed = needed | {token["id"] for token in added if not token["special"]}
    match model["type"]:
        case "Unigram":
            pieces = [piece for piece, _ in model["vocab"]]
            scores = [score for _, score in model["vocab"]]
            alphabet = {piece for piece in pieces if len(piece) == 1}
            # the lowest score decides what an unknown character costs
            needed.add(scores.index(min(scores)))
            return needed | {
                token
                for token, piece in enumerate(pieces)
                if piece not in special
                and (
                    len(piece) == 1
                    or not alphabet.issuperset(piece)
                    or (model["byte_fallback"] and BYTE.fullmatch(piece))
                )
            }
        case "BPE":
            ids = model["vocab"]
            parts: dict[str, set[str]] = {}
            for left, right in model["merges"]:
                parts.setdefault(_merged(model, left, right), set()).update((left, right))
            kept = {piece for piece in ids if piece not in parts and piece not in special}
            waiting = [piece for piece, token in ids.items() if token in needed]
            while waiting:
                piece = waiting.pop()
                if piece not in kept:
                    kept.add(piece)
                    waiting += parts.get(piece, ())
            return needed | {ids[piece] for piece in kept}
    raise StudentError(
        f"the model's tokenizer is a {model['type']}, but only Unigram and BPE can be trimmed"
    )


def _only(kept: list[int], state: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's JSON with the kept pieces alone, under their new ids."""
    new = {old: token for token, old in enumerate(kept)}
    model = dict(state["model"])
    if model["type"] == "Unigram":
        pieces = model["vocab"]
        model["vocab"] = [pieces[old] for old in kept if old < len(pieces)]
        model["unk_id"] = new.get(model["unk_id"])
    else:
        vocab = {piece: new[old] for piece, old in model["vocab"].items() if old in new}
        model["vocab"] = vocab
        model["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if left in vocab and right in vocab and _merged(model, left, right) in vocab
        ]
    added = [
        token | {"id": new[token["id"]]} for token in state["added_tokens"] if token["id"] in new
    ]
    return state | {
        "model": model,
        "added_tokens": added,
        "post_processor": _renumbered(state["post_processor"], new),
        "padding": None,
        "truncation": None,
    }


def _merged(model: dict[str, Any], left: str, right: str) -> str:
    return left + right[len(model["continuing_subword_prefix"] or "") :]


def _renumbered(part: Any, new: dict[int, int]) -> Any:
    """A post-processor with the new ids of the special tokens that it adds."""
    if isinstance(part, list):
        return [_renumbered(item, new) for item in part]
    if isinstance(part, dict):
        return {
            key: [new[old] for old in value] if key == "ids" else _renumbered(value, new)
            for key, value in part.items()
        }
    return part


def _keep_rows(model: T5ForConditionalGeneration, kept: list[int]) -> None:
    matrices = {layer.weight for layer in (model.shared, model.lm_head)}  # one, where tied
    with torch.no_grad():
        for matrix in matrices:
            matrix[: len(kept)] = matrix[kept]
    model.resize_token_embeddings(len(kept))
