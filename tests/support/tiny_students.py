"""Students for tests: small, with random weights, but with outputs that depend on the input."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import onnx_ir as ir
import torch
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from export.bundle import TOKENIZER, Precision
from export.graphs import build_graphs, geometry_of
from export.reference import OnnxStudent, pad
from tasks.builtin import TASKS
from tasks.placeholders import PLACEHOLDERS, Numbers, codec_of
from training.student.load import train_tokenizer

NAMES = ("Ann", "Ben", "Chloe", "Dev", "Ed", "Fay")
THINGS = ("apples", "marbles", "stamps", "pens")


Kind = Literal["v1_0", "v1_1"]
KINDS = get_args(Kind)


class Student(NamedTuple):
    model: T5ForConditionalGeneration
    tokenizer: PreTrainedTokenizerFast


def problems(count: int) -> list[str]:
    """Word problems of different lengths, no two the same."""
    return [
        f"{NAMES[i % 6]} has {i + 3} {THINGS[i % 4]}"
        + f", buys {2 * i + 1} more" * (i % 3)
        + f" and gives {i % 3 + 1} away." * (i % 2)
        for i in range(count)
    ]


def tiny_student(
    kind: Kind = "v1_0",
    seed: int = 0,
    decoder_layers: int = 2,
    words: Sequence[str] = (),
    **config: int,
) -> Student:
    """A T5 of the first family (ReLU, tied embeddings) or of v1.1 (gated GELU, not tied).

    Its layers write larger values than T5's initialisation has them write, and its end token
    stands out: so greedy decoding does not repeat one token, and ends at different lengths.
    `words` are tokens beside those of the problems.
    """
    tokenizer = train_tokenizer(problems(100), vocab_size=320 + 2 * len(words), words=words)
    torch.manual_seed(seed)
    shape = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4} | config
    model = T5ForConditionalGeneration(
        T5Config(
            **shape,
            num_decoder_layers=decoder_layers,
            vocab_size=len(tokenizer),
            feed_forward_proj="relu" if kind == "v1_0" else "gated-gelu",
            tie_word_embeddings=kind == "v1_0",
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    ).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o.weight", "relative_attention_bias.weight")):
                weight *= 4
        model.shared.weight *= 0.2
        model.decoder.final_layer_norm.weight *= 10 if kind == "v1_0" else 0.4
        model.lm_head.weight[tokenizer.eos_token_id] *= 1.6
    return Student(model, tokenizer)


def answers(count: int) -> list[tuple[str, str]]:
    """The label and the rationale of each of the `problems`."""
    return [
        (f"( {i + 3} + {i % 3} )", f"{NAMES[i % 6]} had {i + 3} {THINGS[i % 4]}.")
        for i in range(count)
    ]


def learned_student(rows: int = 20, steps: int = 80, numbers: Numbers | None = None) -> Student:
    """A student that knows the answers to some problems by heart, so its outputs are sure."""
    words = PLACEHOLDERS if numbers == "masked" else []
    student = tiny_student(d_model=64, d_ff=128, words=words)
    tokenizer = student.tokenizer
    codecs = [codec_of(numbers, text) for text in problems(rows)]
    pairs = list(zip(codecs, answers(rows), strict=True))
    inputs = [f"{prefix}: {codec.text}" for prefix in ("predict", "explain") for codec in codecs]
    targets = [codec.mask_label(label) for codec, (label, _) in pairs]
    targets += [codec.mask_rationale(rationale) for codec, (_, rationale) in pairs]
    input_ids, mask = map(torch.from_numpy, pad(tokenizer(inputs)["input_ids"], 0))
    labels = torch.from_numpy(pad(tokenizer(targets)["input_ids"], -100)[0])
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = student.model(input_ids=input_ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return student


def save_graphs(
    student: Student, folder: Path, precision: Precision = "fp32", max_input_tokens: int = 64
) -> OnnxStudent:
    """Writes a student's graphs and tokenizer, and loads them to be run."""
    for name, graph in build_graphs(student.model, precision).items():
        ir.save(graph, folder / name)
    student.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    return OnnxStudent(folder, geometry_of(student.model.config), max_input_tokens)


def save_checkpoint(student: Student, folder: Path, **changes: object) -> Path:
    """Writes what `training/distill.py` writes. `changes` apply to `student.json`."""
    student.model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
    record = {
        "name": "tiny",
        "task": TASKS["svamp"].model_dump(),
        "recipe": {"steps": 1, "examples": [{"text": text} for text in problems(2)]},
        "seed": 0,
        "base_model": "scratch",
        "license": "apache-2.0",
        "max_input_tokens": 64,
        "max_label_tokens": 16,
        "max_rationale_tokens": 24,
        "data": {
            "fingerprint": "0" * 64,
            "train_rows": 100,
            "validation_rows": 20,
            "reports": ["made here: 100 rows"],
        },
        "metrics": {"validation": {"accuracy": 0.25, "rows": 40}},
        "code_version": "0.1.0",
        "command": "python training/distill.py recipe.yaml",
    } | changes
    (folder / "student.json").write_text(json.dumps(record), encoding="utf-8")
    rows = [
        {"input": {"text": text}, "label": label, "rationale": rationale}
        for text, (label, rationale) in zip(problems(40), answers(40), strict=True)
    ]
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
