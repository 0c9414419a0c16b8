import asyncio
import itertools
import json
import math
import random
import shutil
from pathlib import Path

import pytest
import torch

from export.bundle import DRAFT, GOLDEN, MANIFEST, BundleError, Manifest
from export.ngrams import write_draft_table
from export.verify import seal
from service.engine.engine import Engine
from service.engine.prediction import Labelled, Prediction, PredictRequest
from service.errors import (
    EmptyInput,
    EngineUnavailable,
    InvalidInput,
    InvalidParameter,
    TooManyTokens,
)
from tasks.calibration import Calibration
from tasks.task import LabelField
from tests.support.bundles import LIMITS, TASK, explanation, reference, write_bundle
from tests.support.corrupt_bundles import TAMPERINGS
from tests.support.stepped_runner import SteppedRunner
from tests.support.tiny_students import Student, problems, tiny_student


def predict(engine: Engine, *requests: PredictRequest) -> list[Prediction]:
    async def gather() -> list[Prediction]:
        return await asyncio.gather(*map(engine.predict, requests))

    return asyncio.run(gather())


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
    before, saved = engine.counters.accepted, 0
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
    assert engine.counters.accepted == before <= engine.counters.drafted
    assert engine.counters.tokens >= sum(map(len, said))
    engine.close()


def test_without_speculation_every_token_takes_a_step(tiny_bundle: Path, student: Student) -> None:
    engine = Engine.load(tiny_bundle, threads=1, max_rows=2, speculate=False)
    for text in problems(3):
        (prediction,) = predict(engine, PredictRequest(text, explain=True))
        label, rationale = reference(student, text)
        assert (prediction.label, prediction.rationale) == (label.text, rationale.text)
        assert prediction.usage.decoder_steps == max(len(label.tokens), len(rationale.tokens))
        assert prediction.usage.accepted_tokens == 0
    assert engine.counters.drafted == 0
    engine.close()


def test_a_bundle_whose_drafts_cannot_be_read_is_refused(tmp_path: Path, student: Student) -> None:
    manifest = write_bundle(tmp_path / "bundle", student)
    (tmp_path / "bundle" / DRAFT).write_bytes(b"no drafts")
    seal(tmp_path / "bundle", manifest)
    with pytest.raises(BundleError, match=r"draft\.bin: not a table of drafts"):
        Engine.load(tmp_path / "bundle", threads=1, max_rows=2)


def label_logprobs(student: Student, prompt: str, labels: list[str]) -> torch.Tensor:
    """By transformers, one label at a time."""
    inputs = student.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    sums = []
    for label in labels:
        ids = student.tokenizer(label, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            sums.append(-student.model(**inputs, labels=ids).loss * ids.shape[1])
    return torch.stack(sums).double()


@pytest.mark.parametrize("explain", [False, True])
def test_a_closed_label_set_is_scored(tmp_path: Path, student: Student, explain: bool) -> None:
    labels = ["apples", "apple", "pens and apples", "marbles", "pens"]
    task = TASK.model_copy(update={"labels": labels, "answer": None})
    write_bundle(tmp_path / "bundle", student, task=task, calibration=Calibration(temperature=3.0))
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=2)
    text = problems(1)[0]
    expected = (label_logprobs(student, f"predict: {text}", labels) / 3.0).softmax(0)
    requests = [PredictRequest(text, explain, top_k) for top_k in (None, 2, 9)]
    for request, prediction in zip(requests, predict(engine, *requests), strict=True):
        assert len(prediction.scores) == min(request.top_k or 5, 5)
        for score in prediction.scores:
            assert score.score == pytest.approx(float(expected[labels.index(score.label)]), 1e-3)
        assert prediction.label == labels[int(expected.argmax())] == prediction.scores[0].label
        assert prediction.confidence == prediction.scores[0].score
        assert [score.score for score in prediction.scores] == sorted(
            (score.score for score in prediction.scores), reverse=True
        )
        usage = prediction.usage
        assert usage.label_tokens == len(student.tokenizer(prediction.label)["input_ids"])
        # the labels' step, and one for each token of the rationale
        assert usage.decoder_steps == 1 + usage.rationale_tokens - usage.accepted_tokens
        if explain:
            assert prediction.rationale == reference(student, text).rationale.text
    engine.close()


def test_the_request_may_bring_its_labels(tmp_path: Path, student: Student) -> None:
    task = TASK.model_copy(
        update={
            "fields": ["text", "choices"],
            "template": "{{text}} {{choices | join(' or ')}}",
            "labels": LabelField(field="choices"),
            "answer": None,
            "examples": [],
        }
    )
    write_bundle(tmp_path / "bundle", student, task=task)
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=2)
    choices = ["pens", "apples", "pens", "pens and more"]
    distinct = ["pens", "apples", "pens and more"]
    (one, alone) = predict(
        engine,
        PredictRequest({"text": "Ann has", "choices": choices}),
        PredictRequest({"text": "Ann has", "choices": ["pens"]}),
    )
    prompt = "predict: Ann has pens or apples or pens or pens and more"
    expected = label_logprobs(student, prompt, distinct).softmax(0)
    assert {score.label: score.score for score in one.scores} == pytest.approx(
        dict(zip(distinct, expected.tolist(), strict=True)), rel=1e-3
    )
    assert (alone.label, alone.confidence) == ("pens", 1.0)
    engine.close()


def test_a_request_may_bring_a_thousand_labels(tmp_path: Path, student: Student) -> None:
    """Some twice, many with the same beginning, some the beginning of others."""
    task = TASK.model_copy(
        update={
            "fields": ["text", "choices"],
            "labels": LabelField(field="choices"),
            "answer": None,
            "examples": [],
        }
    )
    write_bundle(tmp_path / "bundle", student, task=task, calibration=Calibration(temperature=2.5))
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=2)
    things = ("apples", "apple", "pens", "marbles and pens", "pens and marbles")
    labels = [f"{i} {thing}" for thing in things for i in range(200)]
    text = problems(1)[0]
    requests = [
        PredictRequest({"text": text, "choices": choices}, top_k=top_k)
        for choices, top_k in ((labels, None), (labels * 2, 7))
    ]
    (every, best) = predict(engine, *requests)
    expected = (label_logprobs(student, f"predict: {text}", labels) / 2.5).softmax(0)
    assert {score.label: score.score for score in every.scores} == pytest.approx(
        dict(zip(labels, expected.tolist(), strict=True)), rel=1e-3
    )
    assert every.label == labels[int(expected.argmax())]
    assert best.scores == every.scores[:7]
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
        news = asyncio.run(collect(engine, request))
        assert "".join(one for one in news if isinstance(one, str)) == rationale.text
    assert different > 6
    engine.close()


def test_a_rationale_may_explain_a_label_of_a_closed_set(tmp_path: Path, student: Student) -> None:
    labels = ["addition", "subtraction", "several steps"]
    task = TASK.model_copy(update={"explain_given_label": True, "labels": labels, "answer": None})
    write_bundle(tmp_path / "bundle", student, task=task)
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=3)
    texts = problems(8)
    requests = [PredictRequest(text, explain=True) for text in texts]
    for text, prediction in zip(texts, predict(engine, *requests), strict=True):
        given = student.tokenizer(prediction.label)["input_ids"]
        assert prediction.rationale == explanation(student, text, given).text
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


async def collect(engine: Engine, request: PredictRequest) -> list[Labelled | str | Prediction]:
    return [item async for item in engine.stream(request)]


@pytest.mark.parametrize("explain", [False, True])
def test_a_stream_holds_what_the_prediction_holds(engine: Engine, explain: bool) -> None:
    requests = [PredictRequest(text, explain) for text in problems(12)]

    async def stream_all() -> list[list[Labelled | str | Prediction]]:
        return await asyncio.gather(*(collect(engine, request) for request in requests))

    streams = asyncio.run(stream_all())
    for (label, *pieces, whole), alone in zip(streams, predict(engine, *requests), strict=True):
        assert isinstance(whole, Prediction)
        assert type(label) is Labelled
        for name in ("label", "confidence", "answer", "scores"):
            assert getattr(label, name) == getattr(whole, name) == getattr(alone, name)
        assert whole.rationale == alone.rationale
        assert "".join(pieces) == (alone.rationale or "")
        assert all(pieces)


def test_pieces_come_while_the_rationale_is_written(
    stepped_engine: Engine, runner: SteppedRunner
) -> None:
    """The label's last step also wrote a part of the rationale, and no further step is allowed."""
    request = PredictRequest(problems(1)[0], explain=True)

    async def steps_until_a_piece() -> tuple[int, Prediction]:
        stream = stepped_engine.stream(request)
        label = asyncio.ensure_future(anext(stream))
        while not label.done():
            await asyncio.to_thread(runner.wait_for_step)
            runner.allowed.release()
            await asyncio.sleep(0.01)
        piece = asyncio.ensure_future(anext(stream))
        while not piece.done():
            await asyncio.sleep(0.01)
            runner.allowed.release()
        assert isinstance(piece.result(), str)
        seen = len(runner.rows)
        runner.release()
        return seen, [item async for item in stream][-1]

    seen, whole = asyncio.run(steps_until_a_piece())
    assert seen < whole.usage.decoder_steps


def test_a_closed_stream_gives_back_the_rows(stepped_engine: Engine, runner: SteppedRunner) -> None:
    async def leave() -> Prediction:
        request = PredictRequest(problems(1)[0], explain=True)
        gone = asyncio.create_task(collect(stepped_engine, request))
        runner.allowed.release(2)
        for _ in range(3):
            await asyncio.to_thread(runner.wait_for_step)
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        runner.release()
        return await stepped_engine.predict(PredictRequest("Ann has 3 apples"))

    prediction = asyncio.run(leave())
    assert runner.rows == [2] * 3 + [1] * prediction.usage.decoder_steps


def test_the_engine_outlives_the_loop_that_listened(
    stepped_engine: Engine, runner: SteppedRunner
) -> None:
    async def leave_in_a_step() -> None:
        stream = asyncio.create_task(collect(stepped_engine, PredictRequest("Ann", explain=True)))
        await asyncio.to_thread(runner.wait_for_step)
        stream.cancel()

    asyncio.run(leave_in_a_step())
    runner.release()  # the step ends, and its listener's loop is closed
    (prediction,) = predict(stepped_engine, PredictRequest("Ann has 3 apples"))
    assert prediction.label


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


@pytest.mark.parametrize("part", ["label", "rationale"])
def test_a_bundle_that_gives_something_else_is_refused(
    part: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    golden = json.loads((folder / GOLDEN).read_text())
    golden[1][part] = "something else"
    (folder / GOLDEN).write_text(json.dumps(golden))
    seal(folder, Manifest.model_validate_json((folder / MANIFEST).read_bytes()))
    with pytest.raises(BundleError, match=rf"golden\.json.* the {part} 'something else', but"):
        Engine.load(folder, threads=1, max_rows=2)


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampered_bundle_is_refused(name: str, drafting_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(drafting_bundle, folder)
    tamper, message = TAMPERINGS[name]
    tamper(folder)
    with pytest.raises(BundleError, match=message):
        Engine.load(folder, threads=1, max_rows=2)


def test_a_bundle_without_golden_examples_must_take_a_first_run(
    tmp_path: Path, student: Student
) -> None:
    task = TASK.model_copy(update={"template": "{{text / 2 if text == '…' }}"})
    write_bundle(tmp_path / "bundle", student, task=task)
    with pytest.raises(
        BundleError, match=r"golden\.json: \{'text': '…'\}: the template of problem"
    ):
        Engine.load(tmp_path / "bundle", threads=1, max_rows=2)


def test_a_bundle_whose_template_fails_is_refused(tmp_path: Path, student: Student) -> None:
    task = TASK.model_copy(update={"template": "{{text"})
    write_bundle(tmp_path / "bundle", student, task=task)
    with pytest.raises(BundleError, match="template"):
        Engine.load(tmp_path / "bundle", threads=1, max_rows=1)
