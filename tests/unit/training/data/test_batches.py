import torch

from tasks.builtin import TASKS
from tasks.placeholders import PLACEHOLDERS
from tasks.task import Task
from training.data.batches import TokenizedExamples, TwoPassCollator
from training.run.student import student_texts
from training.student.files import Example
from training.student.load import train_tokenizer
from training.student.passes import IGNORED

SVAMP = TASKS["svamp"]


def test_texts_over_their_limit_are_cut_and_counted() -> None:
    tokenizer = train_tokenizer(["one two three"] * 3, vocab_size=320)
    examples = [Example({"text": "one"}, "one two three", None), Example({"text": "one"}, "7", "7")]
    limits = {"max_input_tokens": 4, "max_label_tokens": 3, "max_rationale_tokens": 2}
    rows = TokenizedExamples(examples, SVAMP, tokenizer, **limits)
    assert rows.cut == {"input": 4, "label": 1, "rationale": 0}
    assert (
        rows[0]["label"] == tokenizer("one two three", truncation=True, max_length=3)["input_ids"]
    )


def test_masked_numbers_are_tokens_of_their_own() -> None:
    task = SVAMP.model_copy(update={"numbers": "masked"})
    text = "Ann has 84 pens in 2 cups."
    examples = [Example({"text": text}, "( 84.0 / 2.0 )", "84 / 2 = 42 pens in 1 cup.")]
    config = {"numbers": "masked", "name": "t", "fields": ["text"], "template": "{{text}}"}
    tokenizer = train_tokenizer(student_texts(Task(**config), examples) * 9, 400, PLACEHOLDERS)
    limits = dict.fromkeys(["max_input_tokens", "max_label_tokens", "max_rationale_tokens"], 64)
    rows = TokenizedExamples(examples, task, tokenizer, **limits)
    assert {
        name: tokenizer.decode(ids, skip_special_tokens=True) for name, ids in rows[0].items()
    } == {
        "predict_input": "predict: Ann has n0 pens in n1 cups.",
        "explain_input": "explain: Ann has n0 pens in n1 cups.",
        "label": "( n0 / n1 )",
        "rationale": "n0 / n1 = r0 pens in 1 cup.",
    }
    pieces = [tokenizer.decode([token]) for token in rows[0]["rationale"]]
    assert [piece for piece in pieces if piece.strip() in PLACEHOLDERS] == ["n0", " n1", " r0"]
    assert rows.codecs[0].unmask_label("( n0 / n1 )") == "( 84.0 / 2.0 )"


def test_the_collator_pads_two_passes() -> None:
    tokenizer = train_tokenizer(["one two three four five"] * 3, vocab_size=320)
    examples = [
        Example({"text": "one two three"}, "five", "four"),
        Example({"text": "one"}, "one two three four", None),
    ]
    limits = {"max_input_tokens": 64, "max_label_tokens": 5, "max_rationale_tokens": 64}
    rows = TokenizedExamples(examples, SVAMP, tokenizer, **limits)
    batch = TwoPassCollator(pad_id=0, decoder_start_id=0)([rows[0], rows[1]])
    for name, prefix in (("predict", "predict: "), ("explain", "explain: ")):
        first, second = batch[name]["input_ids"].tolist()
        assert tokenizer.decode(first) == f"{prefix}one two three</s>"
        assert tokenizer.decode(second, skip_special_tokens=True) == f"{prefix}one"
        lengths = [len(tokenizer(prefix + text)["input_ids"]) for text in ("one two three", "one")]
        assert batch[name]["attention_mask"].sum(dim=1).tolist() == lengths
    five, cut = batch["predict"]["labels"].tolist()
    assert five == tokenizer("five")["input_ids"] + [IGNORED]
    assert cut == [*tokenizer("one two three four")["input_ids"][:4], tokenizer.eos_token_id]
    explain = batch["explain"]["labels"]
    assert (explain[1] == IGNORED).all()
    for one in batch.values():  # the decoder sees each target token one place later
        labels, inputs = one["labels"], one["decoder_input_ids"]
        assert (inputs[:, 0] == 0).all()
        used = labels[:, 1:] != IGNORED
        assert torch.equal(inputs[:, 1:][used], labels[:, :-1][used])


def test_a_rationale_may_come_after_its_label() -> None:
    tokenizer = train_tokenizer(["one two three four five"] * 3, vocab_size=320)
    examples = [
        Example({"text": "one"}, "five four", "one two three"),
        Example({"text": "one"}, "two", None),
    ]
    limits = dict.fromkeys(("max_input_tokens", "max_label_tokens", "max_rationale_tokens"), 64)
    rows = TokenizedExamples(examples, SVAMP, tokenizer, **limits)
    both = [rows[0], rows[1]]
    given = TwoPassCollator(pad_id=0, decoder_start_id=0, explain_given_label=True)(both)
    beside = TwoPassCollator(pad_id=0, decoder_start_id=0)(both)
    assert torch.equal(given["predict"]["labels"], beside["predict"]["labels"])
    label, rationale = rows[0]["label"], rows[0]["rationale"]
    explain = given["explain"]
    assert explain["decoder_input_ids"][0].tolist() == [0, *label, *rationale[:-1]]
    assert explain["labels"][0].tolist() == [IGNORED] * len(label) + rationale
    assert (explain["labels"][1] == IGNORED).all()
