"""A pretrained student with a trimmed vocabulary: distilled, exported, served, and asked."""

import json
from pathlib import Path

import httpx2 as httpx
import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

from export import convert
from tests.support.pretrained_t5 import write_pretrained
from tests.support.server_process import TIMEOUT, serve
from tests.support.simple_problems import RECIPE, write_problems
from training import distill

UNSEEN = "Zoë ships 9 kayaks, then 7 whatsoever. Quickly: how many?"


def test_a_trimmed_student_is_served_as_it_was_distilled(tmp_path: Path) -> None:
    rows = write_problems(tmp_path / "train.jsonl", rows=80, seed=0)
    checkpoint, bundle = tmp_path / "checkpoint", tmp_path / "bundle"
    recipe = [
        str(RECIPE),
        f"model={write_pretrained(tmp_path / 't5')}",
        "trim_vocab=true",
        f"data.train={tmp_path / 'train.jsonl'}",
        "data.test=null",
        f"output_dir={checkpoint}",
        *("steps=40", "eval_every=40", "warmup_steps=0", "validation_rows=20"),
    ]
    assert distill.main(recipe) == 0
    assert convert.main([str(checkpoint), "--out", str(bundle)]) == 0
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["model"]["vocab_size"] < 400
    assert manifest["provenance"]["recipe"]["trim_vocab"] is True

    model = T5ForConditionalGeneration.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    texts = [UNSEEN, *(row["input"] for row in rows[:8])]
    with serve(tmp_path / "log", "--models", str(bundle)) as server:
        body = {"inputs": texts, "explain": True}
        answers = httpx.post(f"{server.url}/predict", json=body, timeout=TIMEOUT).json()

    def written(prompt: str, limit: int) -> str:
        inputs = tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            ids = model.generate(**inputs, do_sample=False, max_new_tokens=limit)
        return tokenizer.decode(ids[0], skip_special_tokens=True).strip()

    assert answers == [
        answer
        | {"label": written(f"predict: {text}", 16), "rationale": written(f"explain: {text}", 48)}
        for text, answer in zip(texts, answers, strict=True)
    ]
    assert len({answer["rationale"] for answer in answers}) > 1
