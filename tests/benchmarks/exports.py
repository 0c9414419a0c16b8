"""Exports one checkpoint to the forms that the peers load. Needs torch."""

import os
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from export import bundle, verify
from export.bundle import Limits, Manifest
from export.optimum import export_with_optimum
from tasks.task import Task
from tests.benchmarks.geometry import FIRST_WORD, LABEL_TOKENS, SMALL, UNUSED, Geometry
from tests.benchmarks.layout import CHECKPOINT, CTRANSLATE2_TYPES, OPTIMUM, PRECISIONS
from tests.support.bundles import write_bundle
from tests.support.tiny_students import Student, save_checkpoint


def random_student(geometry: Geometry) -> Student:
    """A T5 v1.0 that never stops writing: its end token is never the most probable one.

    Its weights are larger than in T5's initialisation, so that outputs depend on inputs.
    """
    tokenizer = _word_tokenizer(geometry.words)
    torch.manual_seed(0)
    config = T5Config(
        **geometry.shape,
        vocab_size=geometry.words + UNUSED,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model = T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o.weight", "relative_attention_bias.weight")):
                weight *= 4
        model.shared.weight *= 0.2
        model.decoder.final_layer_norm.weight *= 10
        # The logits of these ids stay near 0, far below the best one.
        model.shared.weight[:FIRST_WORD] *= 0.01
        model.shared.weight[-UNUSED:] *= 0.01
    return Student(model, tokenizer)


def _word_tokenizer(words: int) -> PreTrainedTokenizerFast:
    """A tokenizer with a token for each word: texts and token ids correspond one to one."""
    special = ["<pad>", "</s>", "<unk>"]
    known = [*special, "predict:", "explain:", *(f"w{i}" for i in range(FIRST_WORD, words))]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(known)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", special.index("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def export_random(geometry: Geometry, folder: Path, peers: Collection[str]) -> None:
    """Fills `folder` with a checkpoint and with what Duet and the peers load.

    For each precision there are three bundles. The first has closed labels. The label of the second
    is the rationale of the first. The label of the third is the first LABEL_TOKENS tokens of that.
    """
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    student = random_student(geometry)
    checkpoint = save_checkpoint(
        student,
        folder / CHECKPOINT,
        max_input_tokens=geometry.input_tokens,
        max_label_tokens=LABEL_TOKENS,
        max_rationale_tokens=geometry.rationale_tokens,
    )
    for precision in PRECISIONS:
        closed = folder / f"{precision}-closed"
        manifest = write_bundle(
            closed,
            student,
            task=Task(
                name="words",
                fields=["text"],
                template="{{text}}",
                labels=list(geometry.candidates()),
            ),
            limits=Limits(
                input_tokens=geometry.input_tokens,
                label_tokens=LABEL_TOKENS,
                rationale_tokens=geometry.rationale_tokens,
            ),
            precision=precision,
        )
        for name, tokens in ("open", geometry.rationale_tokens), ("short", LABEL_TOKENS):
            _relabel(closed, folder / f"{precision}-{name}", manifest, tokens)
    export_to_peers(checkpoint, folder, peers)


def export_to_peers(checkpoint: Path, folder: Path, peers: Collection[str]) -> None:
    if "optimum" in peers:
        export_with_optimum(checkpoint, folder / OPTIMUM)
    if "ctranslate2" in peers:
        from ctranslate2.converters import TransformersConverter

        for kind in CTRANSLATE2_TYPES:
            quantization = None if kind == "float32" else kind
            converter = TransformersConverter(str(checkpoint))
            converter.convert(str(folder / kind), quantization=quantization)


def _relabel(source: Path, folder: Path, manifest: Manifest, tokens: int) -> None:
    """A bundle of the same files. Its label is the first `tokens` tokens of their rationale."""
    folder.mkdir()
    for path in source.iterdir():
        if path.name != bundle.MANIFEST:
            os.link(path, folder / path.name)
    task = manifest.task.model_copy(update={"labels": "open", "predict_prefix": "explain: "})
    limits = manifest.limits.model_copy(update={"label_tokens": tokens})
    verify.seal(folder, manifest.model_copy(update={"task": task, "limits": limits}))


if __name__ == "__main__":  # writes a T5-small with random weights to a new folder
    made = Path(sys.argv[1])
    shutil.rmtree(made, ignore_errors=True)
    export_random(SMALL, made, peers=())
