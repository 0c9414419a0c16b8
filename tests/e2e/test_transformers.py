"""Every answer of an engine in fp32 is what transformers generates greedily, token by token.

The engine takes all the requests at once, and speculates; transformers takes them in batches of its
own. Only where it is shown that two tokens are equally probable, within 1e-4 in log-probability,
may the two part.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from export.bundle import Limits
from export.parity import TOLERANCE, batches, is_near_tie
from export.reference import pad, until_end
from service.engine.answer import Answer
from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest
from tests.support.bundles import TASK, write_bundle
from tests.support.rebuilt_student import rebuilt_student
from tests.support.tiny_students import Kind, Student, tiny_student

SVAMP_MINI = Path(__file__).parents[1] / "fixtures/svamp-mini"
REAL, MADE = 440, 150  # inputs, of SVAMP, and for each of the random students
LIMITS = Limits(input_tokens=80, label_tokens=14, rationale_tokens=48)


class Text(NamedTuple):
    tokens: list[int]
    logprobs: np.ndarray  # [T,V], of each token


def test_on_real_questions(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a student that was trained on them."""
    folder = real_data / "dss/svamp"
    rows = [*read_lines(folder / "svamp_test.json"), *read_lines(folder / "svamp_train.json")]
    texts = list(dict.fromkeys(row["input"] for row in rows))[:REAL]
    assert len(texts) == REAL
    check(SVAMP_MINI, rebuilt_student(SVAMP_MINI), texts, monkeypatch)


@pytest.mark.parametrize(
    ("kind", "seed", "config"),
    [
        ("v1_0", 11, {}),
        ("v1_0", 12, {"d_model": 33, "d_kv": 6, "num_heads": 5, "decoder_layers": 1}),
        ("v1_1", 13, {}),
        ("v1_1", 14, {"d_model": 48, "d_kv": 16, "num_heads": 2, "d_ff": 70, "num_layers": 3}),
    ],
)
def test_on_made_inputs(
    kind: Kind, seed: int, config: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = tiny_student(kind, seed, **config)
    write_bundle(tmp_path / "bundle", student, limits=LIMITS)
    rng = np.random.default_rng(seed)
    texts = [made_text(student, rng, length) for length in [1, 99, *rng.integers(1, 99, MADE - 2)]]
    check(tmp_path / "bundle", student, texts, monkeypatch)


def made_text(student: Student, rng: np.random.Generator, length: int) -> str:
    """Of about that many random tokens, but for those that an input may not have."""
    text = ""
    while not text:
        text = student.tokenizer.decode(rng.integers(3, 320, length)).replace("\0", "")
        text = TASK.render({"text": text})  # white space as the engine has it
    while len(student.tokenizer(TASK.explain_prefix + text)["input_ids"]) > LIMITS.input_tokens:
        text = text[:-1].strip()
    return text


def check(
    folder: Path, student: Student, texts: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = record_texts(monkeypatch)
    engine = Engine.load(folder, threads=1, max_rows=16)
    written.clear()
    predictions = asyncio.run(predict(engine, texts))
    limits, accepted = engine.manifest.limits, engine.accepted
    engine.close()
    assert accepted > 0
    for voice, prefix in enumerate((TASK.predict_prefix, TASK.explain_prefix)):
        most = limits.rationale_tokens if voice else limits.label_tokens
        expected = generate(student, [prefix + text for text in texts], most)
        for text, prediction in zip(texts, predictions, strict=True):
            one, wanted = written[text][voice], expected[prefix + text]
            if one.tokens != wanted.tokens:
                assert is_near_tie(one.tokens, wanted.tokens, wanted.logprobs), (
                    f"{prefix}{text!r}: transformers writes {wanted.tokens}, Duet {one.tokens}"
                )
                continue
            sum_of_logprobs = wanted.logprobs[range(len(one.tokens)), one.tokens].sum()
            assert abs(one.logprob - sum_of_logprobs) < TOLERANCE * len(one.tokens)
            said = student.tokenizer.decode(wanted.tokens, skip_special_tokens=True).strip()
            assert (prediction.rationale if voice else prediction.label) == said


async def predict(engine: Engine, texts: Sequence[str]) -> list[Prediction]:
    requests = [PredictRequest(text, explain=True) for text in texts]
    return await asyncio.gather(*map(engine.predict, requests))


def record_texts(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Any, ...]]:
    """The texts of each request to come, by its input: of its label and its rationale."""
    texts: dict[str, tuple[Any, ...]] = {}
    prediction = Answer.prediction

    def recorded(answer: Answer) -> Prediction:
        texts[str(answer.asked.input)] = answer.request.sequences
        return prediction(answer)

    monkeypatch.setattr(Answer, "prediction", recorded)
    return texts


@torch.inference_mode()
def generate(student: Student, prompts: Sequence[str], max_new_tokens: int) -> dict[str, Text]:
    """What transformers writes greedily after each prompt."""
    texts: dict[str, Text] = {}
    model, eos_id = student.model, student.model.config.eos_token_id
    for batch in batches(sorted(prompts, key=len)):
        ids, mask = map(torch.from_numpy, pad(student.tokenizer(batch)["input_ids"], 0))
        inputs: Any = {"input_ids": ids, "attention_mask": mask}
        decoded = model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
        logits = model(**inputs, decoder_input_ids=decoded[:, :-1]).logits
        outputs = [until_end(row, eos_id) for row in decoded[:, 1:].tolist()]
        texts |= zip(batch, map(Text, outputs, logits.log_softmax(-1).numpy()), strict=True)
    return texts


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
