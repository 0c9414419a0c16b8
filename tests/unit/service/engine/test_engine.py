import asyncio
import itertools
import math
import random
from pathlib import Path

import pytest

from export.bundle import DRAFT
from export.ngrams import write_draft_table
from export.verify import seal
from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest
from service.errors import (
    EmptyInput,
    EngineUnavailable,
    InvalidInput,
    InvalidParameter,
    TooManyTokens,
)
from tasks.calibration import Calibration
from tests.support.bundles import LIMITS, TASK, reference, write_bundle
from tests.support.engine_answers import collect, predict
from tests.support.stepped_runner import SteppedRunner
from tests.support.tiny_students import Student, problems, tiny_student


def test_a_label(engine: Engine, student: Student) -> None:
    text = problems(1)[0]
    (prediction,) = predict(engine, PredictRequest({"text": text}))
    expected = reference(student, text).label
    assert prediction.label == expected.text
    assert prediction.confidence == pytest.approx(math.exp(expected.logprob), rel=1e-3)
    assert prediction.rationale is None
    assert prediction.scores[0].label == prediction.label
    assert prediction.scores[0].score == prediction.confidence
    assert prediction.decoder_passes == 1
    assert prediction.usage.input_tokens == len(student.tokenizer("predict: " + text)["input_ids"])
    assert prediction.usage.label_tokens == len(expected.tokens)
    assert prediction.usage.rationale_tokens == 0
    usage = prediction.usage
    assert usage.decoder_steps == len(expected.tokens) - usage.accepted_tokens


def test_a_label_with_its_rationale(engine: Engine, student: Student) -> None:
    text = problems(1)[0]
    (prediction,) = predict(engine, PredictRequest(text, explain=True))
    label, rationale = reference(student, text)
    assert (prediction.label, prediction.rationale) == (label.text, rationale.text)
    assert prediction.decoder_passes == 2
    assert prediction.usage.rationale_tokens == len(rationale.tokens)
    usage = prediction.usage
    assert (
        max(len(label.tokens), len(rationale.tokens)) - usage.accepted_tokens
        <= (usage.decoder_steps)
        <= max(len(label.tokens), len(rationale.tokens))
    )


def test_drafts_save_steps_and_change_nothing(tmp_path: Path, student: Student) -> None:
    texts = problems(8)
    expected = [reference(student, text) for text in texts]
    manifest = write_bundle(tmp_path / "bundle", student)
    said = [voice.tokens for voices in expected for voice in voices]
    write_draft_table(tmp_path / "bundle" / DRAFT, said * 2, start_id=0, max_bytes=10**6)
    seal(tmp_path / "bundle", manifest)
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=2)
    before, saved = engine.accepted, 0
    for text, voices in zip(texts, expected, strict=True):
        (prediction,) = predict(engine, PredictRequest(text, explain=True))
        assert (prediction.label, prediction.rationale) == (
            voices.label.text,
            voices.rationale.text,
        )
        usage = prediction.usage
        assert usage.rationale_tokens == len(voices.rationale.tokens)
        before += usage.accepted_tokens
        saved += max(usage.label_tokens, usage.rationale_tokens) - usage.decoder_steps
    assert saved > 8 * 20
    assert engine.accepted == before <= engine.drafted
    engine.close()


def test_without_speculation_every_token_takes_a_step(tiny_bundle: Path, student: Student) -> None:
    engine = Engine.load(tiny_bundle, threads=1, max_rows=2, speculate=False)
    for text in problems(3):
        (prediction,) = predict(engine, PredictRequest(text, explain=True))
        label, rationale = reference(student, text)
        assert (prediction.label, prediction.rationale) == (label.text, rationale.text)
        assert prediction.usage.decoder_steps == max(len(label.tokens), len(rationale.tokens))
        assert prediction.usage.accepted_tokens == 0
    assert engine.drafted == 0
    engine.close()


@pytest.mark.parametrize("explain_given_label", [False, True])
@pytest.mark.parametrize("kind", ["v1_0", "v1_1"])
def test_neighbours_and_order_change_nothing(
    kind: str, explain_given_label: bool, tmp_path: Path
) -> None:
    """Many at once, in several orders: the same as transformers gives for each one alone."""
    student = tiny_student(kind, seed=1)
    task = TASK.model_copy(update={"explain_given_label": explain_given_label})
    write_bundle(tmp_path / "bundle", student, task=task)
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=7)
    texts = problems(30)
    expected = {
        text: reference(student, text, explain_given_label=explain_given_label) for text in texts
    }
    requests = [
        PredictRequest(text, explain) for text, explain in itertools.product(texts, (False, True))
    ]
    for seed in range(3):
        random.Random(seed).shuffle(requests)
        for request, prediction in zip(requests, predict(engine, *requests), strict=True):
            label, rationale = expected[request.input]
            assert prediction.label == label.text
            assert prediction.rationale == (rationale.text if request.explain else None)
            assert prediction.confidence == pytest.approx(math.exp(label.logprob), rel=1e-3)
    engine.close()


def test_neighbours_change_nothing_in_int8(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", tiny_student(seed=1), precision="int8")
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=7)
    requests = [PredictRequest(text, explain=True) for text in problems(20)]
    alone = [predict(engine, request)[0] for request in requests]
    for one, among in zip(alone, predict(engine, *requests), strict=True):
        assert (among.label, among.rationale) == (one.label, one.rationale)
        assert among.confidence == one.confidence
    engine.close()


@pytest.mark.parametrize("speculate", [False, True])
def test_a_rationale_may_explain_its_label(
    speculate: bool, tmp_path: Path, student: Student
) -> None:
    task = TASK.model_copy(update={"explain_given_label": True})
    write_bundle(tmp_path / "bundle", student, task=task)
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=2, speculate=speculate)
    different = 0
    for text in problems(12):
        request = PredictRequest(text, explain=True)
        (prediction,) = predict(engine, request)
        label, rationale = reference(student, text, explain_given_label=True)
        assert (prediction.label, prediction.rationale) == (label.text, rationale.text)
        different += rationale.text != reference(student, text).rationale.text
        usage = prediction.usage
        assert usage.rationale_tokens == len(rationale.tokens)
        # one after the other, but the label takes a single step once it is there
        steps = len(label.tokens) + len(rationale.tokens) - usage.accepted_tokens
        assert usage.decoder_steps == steps
        assert "".join(asyncio.run(collect(engine, request)).pieces) == rationale.text
    assert different > 6
    engine.close()


def test_temperature_tempers_the_confidence(tmp_path: Path, student: Student) -> None:
    write_bundle(tmp_path / "bundle", student, calibration=Calibration(temperature=4.0))
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=1)
    text = problems(1)[0]
    (prediction,) = predict(engine, PredictRequest(text))
    logprob = reference(student, text).label.logprob
    assert prediction.confidence == pytest.approx(math.exp(logprob / 4), rel=1e-3)
    engine.close()


@pytest.mark.parametrize(
    ("given", "error"),
    [("", EmptyInput), ({"txt": "a"}, InvalidInput), ("apples " * 100, TooManyTokens)],
)
def test_a_bad_input_is_told_of(engine: Engine, given: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        predict(engine, PredictRequest(given))


def test_a_cancelled_caller_gives_back_the_rows(
    stepped_engine: Engine, runner: SteppedRunner
) -> None:
    async def abandon() -> Prediction:
        gone = asyncio.create_task(stepped_engine.predict(PredictRequest("Ann", explain=True)))
        await asyncio.to_thread(runner.wait_for_step)
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        runner.release()
        return await stepped_engine.predict(PredictRequest("Ann has 3 apples"))

    prediction = asyncio.run(abandon())
    assert runner.rows == [2] + [1] * prediction.usage.decoder_steps


def test_a_rationale_may_be_cut(engine: Engine, student: Student) -> None:
    text = problems(1)[0]
    whole = reference(student, text).rationale
    for tokens in (1, 5, 48):
        (cut,) = predict(engine, PredictRequest(text, explain=True, max_rationale_tokens=tokens))
        assert cut.usage.rationale_tokens == min(tokens, len(whole.tokens))
        expected = student.tokenizer.decode(whole.tokens[:tokens], skip_special_tokens=True)
        assert cut.rationale == expected.strip()


@pytest.mark.parametrize("tokens", [49, -1])
def test_a_rationale_longer_than_the_bundle_allows_is_refused(engine: Engine, tokens: int) -> None:
    with pytest.raises(InvalidParameter, match=f"^max_rationale_tokens: {tokens}, but tiny writes"):
        predict(engine, PredictRequest("Ann", explain=True, max_rationale_tokens=tokens))


def test_an_input_that_is_too_long_may_be_cut(engine: Engine) -> None:
    (prediction,) = predict(engine, PredictRequest("apples " * 100, truncate=True))
    assert prediction.usage.input_tokens == LIMITS.input_tokens


def test_a_closed_engine_is_unavailable(tiny_bundle: Path) -> None:
    engine = Engine.load(tiny_bundle, threads=1, max_rows=1)
    assert engine.alive
    engine.close()
    assert not engine.alive
    with pytest.raises(EngineUnavailable):
        predict(engine, PredictRequest("Ann has 3 apples"))
