import torch

from training.batches import IGNORED, TokenizedExamples, TwoPassCollator
from training.data import Example
from training.student import train_tokenizer
from training.tasks import TASKS

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
