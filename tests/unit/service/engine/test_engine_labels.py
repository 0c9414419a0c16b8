from pathlib import Path

import pytest
import torch

from service.engine.engine import Engine
from service.engine.prediction import PredictRequest
from tasks.calibration import Calibration
from tests.support.bundles import CHOICES, TASK, explanation, reference, write_bundle
from tests.support.engine_answers import predict
from tests.support.tiny_students import Student, problems


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
    write_bundle(tmp_path / "bundle", student, task=CHOICES)
    engine = Engine.load(tmp_path / "bundle", threads=1, max_rows=2)
    choices = ["pens", "apples", "pens", "pens and more"]
    distinct = ["pens", "apples", "pens and more"]
    (one, alone) = predict(
        engine,
        PredictRequest({"text": "Ann has", "choices": choices}),
        PredictRequest({"text": "Ann has", "choices": ["pens"]}),
    )
    prompt = "predict: Ann has pens apples pens pens and more"
    expected = label_logprobs(student, prompt, distinct).softmax(0)
    assert {score.label: score.score for score in one.scores} == pytest.approx(
        dict(zip(distinct, expected.tolist(), strict=True)), rel=1e-3
    )
    assert (alone.label, alone.confidence) == ("pens", 1.0)
    engine.close()


def test_a_request_may_bring_a_thousand_labels(tmp_path: Path, student: Student) -> None:
    """Some twice, many with the same beginning, some the beginning of others."""
    task = CHOICES.model_copy(update={"template": TASK.template})
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
