import re
from dataclasses import replace

import pytest
from pydantic import ValidationError

from service.engine.engine import Engine
from service.engine.prediction import Prediction, Score, Timings, Usage
from service.errors import InputError, InvalidInput
from service.schemas import TEXT_PATTERN, PredictAnswer, PredictBody


@pytest.mark.parametrize(
    "inputs", ["Ann", {"text": "Ann"}, ["Ann", {"text": ["Ann", "Ben"]}], "\ufeffé\u202e🍎", {}]
)
def test_inputs_are_taken_as_they_are(inputs: object) -> None:
    assert PredictBody.model_validate({"inputs": inputs}).inputs == inputs


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (5, "^inputs: expected a string or an object with the task's fields, got a number$"),
        (True, "^inputs: expected .*, got a boolean$"),
        (None, "^inputs: expected .*, got null$"),
        ([], "^inputs: the list is empty"),
        (["a", ["b"]], r"^inputs\[1\]: expected .*, got a list$"),
        ({"text": {}}, r"^inputs\['text'\]: expected a string or a list of strings, got an"),
        (["a", {"text": 1.5}], r"^inputs\[1\]\['text'\]: expected a string or .*, got a number$"),
        ({"text": ["a", 5]}, r"^inputs\['text'\]\[1\]: expected a string, got a number$"),
        ({"text": [["a"]]}, r"^inputs\['text'\]\[0\]: expected a string, got a list$"),
        ({"text": ["a\0"]}, r"^inputs\['text'\]\[0\]: expected text, got a NUL character"),
        ("a\0", "^inputs: expected text, got a NUL character"),
        ({"text": "a\ud83c"}, r"^inputs\['text'\]: expected text, got half of a surrogate pair"),
    ],
)
def test_what_is_wrong_with_an_input_is_told_with_its_place(inputs: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        PredictBody.model_validate({"inputs": inputs})


@pytest.mark.parametrize(
    "text", ["a", " a ", "é", "🍎", "\n\na", "", " ", "\n", "\x1c", "\x85", "\u2003", "a\0", "\0"]
)
def test_the_document_tells_which_texts_are_taken(engine: Engine, text: str) -> None:
    try:
        PredictBody.model_validate({"inputs": text})
        engine._text.codec(text)
    except InputError:
        taken = False
    else:
        taken = True
    assert bool(re.search(TEXT_PATTERN, text)) == taken


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"^'explian': unknown; a request holds inputs, model"):
        PredictBody.model_validate({"inputs": "a", "explian": True})


@pytest.mark.parametrize("explain", ["true", 1, None, []])
def test_explain_is_a_boolean_and_nothing_like_one(explain: object) -> None:
    with pytest.raises(ValidationError, match="valid boolean"):
        PredictBody.model_validate({"inputs": "a", "explain": explain})


@pytest.mark.parametrize("top_k", [0, -1, True, "3", 1.5])
def test_top_k_is_a_positive_number(top_k: object) -> None:
    with pytest.raises(ValidationError, match="top_k"):
        PredictBody.model_validate({"inputs": "a", "top_k": top_k})


def test_answer_and_rationale_are_there_where_they_belong(engine: Engine) -> None:
    arithmetic = engine.manifest
    prediction = Prediction(
        model=arithmetic,
        label="1 / 0",
        confidence=0.5,
        answer=None,
        rationale=None,
        scores=(Score("1 / 0", 0.5),),
        decoder_passes=1,
        usage=Usage(1, 1, 0, 1, 0, False),
        timings=Timings(0, 0, 0, 0, None),
    )
    answer = PredictAnswer.of(prediction).model_dump(exclude_unset=True)
    assert answer["answer"] is None
    assert "rationale" not in answer

    words = arithmetic.model_copy(
        update={"task": arithmetic.task.model_copy(update={"answer": None})}
    )
    explained = replace(prediction, model=words, rationale="")
    answer = PredictAnswer.of(explained).model_dump(exclude_unset=True)
    assert "answer" not in answer
    assert answer["rationale"] == ""
