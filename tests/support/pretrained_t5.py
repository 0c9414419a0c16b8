"""A small pretrained T5 with random weights, in the form that T5's authors publish."""

import json
from functools import cache
from io import BytesIO
from pathlib import Path
from pydoc_data.topics import topics

import sentencepiece
import torch
from transformers import T5Config, T5ForConditionalGeneration

from tests.support.tiny_students import Kind

PIECES = 4000  # without the 100 sentinels


def prose() -> list[str]:
    """English text of Python's own manual, in lines."""
    return [
        line.strip() for topic in topics.values() for line in topic.splitlines() if line.strip()
    ]


@cache
def sentencepiece_model() -> bytes:
    """A SentencePiece Unigram model with T5's settings, of PIECES pieces."""
    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(prose()),
        model_writer=model,
        model_type="unigram",
        vocab_size=PIECES,
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def write_pretrained(folder: Path, kind: Kind = "v1_1", **config: float) -> Path:
    """Writes model and `spiece.model` to the new folder `folder`.

    As in the published models, the embeddings have a few more rows than there are pieces.
    """
    folder.mkdir(parents=True)
    (folder / "spiece.model").write_bytes(sentencepiece_model())
    settings = {"tokenizer_class": "T5Tokenizer", "extra_ids": 100, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    shape = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4} | config
    model = T5ForConditionalGeneration(
        T5Config(
            **shape,
            vocab_size=PIECES + 128,
            feed_forward_proj="relu" if kind == "v1_0" else "gated-gelu",
            tie_word_embeddings=kind == "v1_0",
            decoder_start_token_id=0,
        )
    )
    with torch.no_grad():  # otherwise every output is the same, whatever the input
        for name, weight in model.named_parameters():
            if name.endswith(("o.weight", "relative_attention_bias.weight")):
                weight *= 4
    model.save_pretrained(folder)
    return folder
