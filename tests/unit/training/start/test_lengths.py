"""Limits leave room for longer texts, and say who would be cut."""

import random

from tasks.task import Task
from training.start.lengths import measure_lengths
from training.start.student import vocabulary_for
from training.student.files import Example
from training.student.load import train_tokenizer

WORDS = [f"w{chr(97 + n)}" for n in range(26)]


def texts(words: int, rows: int = 9) -> list[str]:
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=words)) for _ in range(rows)]


def test_limits_leave_room_for_longer_texts() -> None:
    task = Task(name="t", fields=["text"], template="{{text}}", labels=["yes", "no and no"])
    inputs, rationales = texts(40), texts(20)
    tokenizer = train_tokenizer([*inputs, *rationales, "predict: ", "explain: ", "yes"], 400)
    pairs = zip(inputs, rationales, strict=True)
    examples = [Example({"text": one}, "yes", two) for one, two in pairs]
    found = measure_lengths(task, examples, tokenizer)
    longest = max(len(tokenizer(f"explain: {text}")["input_ids"]) for text in inputs)
    assert found["input"].longest == longest
    assert 2 * longest <= found["input"].limit < 2 * longest + 8
    # a label of the set that no row has needs its tokens, too
    assert found["label"].longest == len(tokenizer("no and no")["input_ids"])
    longest = max(len(tokenizer(text)["input_ids"]) for text in rationales)
    assert 1.5 * longest <= found["rationale"].limit < 1.5 * longest + 8
    assert all(one.cut == 0 for one in found.values())


def test_what_is_cut_is_counted_and_no_rationale_has_no_length() -> None:
    task = Task(name="t", fields=["text"], template="{{text}}")
    inputs = [*texts(10), *texts(1200, rows=2)]
    tokenizer = train_tokenizer(inputs, 400)
    found = measure_lengths(task, [Example({"text": one}, "a", None) for one in inputs], tokenizer)
    assert (found["input"].limit, found["input"].cut, found["input"].texts) == (1024, 2, 11)
    assert "rationale" not in found


def test_the_vocabulary_grows_with_the_words_that_are_frequent() -> None:
    frequent = [f"word{n}" for n in range(1000)] * 3
    assert vocabulary_for(frequent) == 1300
    assert vocabulary_for([*frequent, *(f"rare{n}" for n in range(5000))]) == 1300
    assert vocabulary_for(["few words"]) == 600
