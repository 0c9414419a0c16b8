import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, processors
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.support.pretrained_t5 import PIECES, prose, write_pretrained
from tests.support.simple_problems import RECIPE
from tests.support.tiny_students import KINDS, Kind, problems
from training.config import load_config
from training.run.student import load_student
from training.student.files import StudentError
from training.student.load import Student, train_tokenizer
from training.student.vocabulary import trim_vocabulary
from training.yaml_files import ConfigError

UNKNOWN = 2
TEXTS = [f"{prefix}: {text}" for prefix in ("predict", "explain") for text in problems(60)] + [
    "( 12.0 + 3.0 )",
    "a text</s>and another 🙂 in it",  # ends in its middle, and has an unknown character
]


def load(folder: Path, texts: list[str] = TEXTS, *, trim: bool) -> Student:
    config = load_config(RECIPE, [f"model={folder}", f"trim_vocab={str(trim).lower()}"])
    return load_student(config, texts)


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind: Kind = request.param
    return write_pretrained(tmp_path_factory.mktemp("pretrained") / kind, kind)


@pytest.fixture(scope="module")
def full(folder: Path) -> Student:
    return load(folder, trim=False)


@pytest.fixture(scope="module")
def trimmed(folder: Path) -> Student:
    return load(folder, trim=True)


def pieces(student: Student, text: str) -> list[str]:
    return student.tokenizer.convert_ids_to_tokens(student.tokenizer(text)["input_ids"])


def kept(full: Student, trimmed: Student) -> list[int]:
    """The old ids of the new pieces."""
    names = trimmed.tokenizer.convert_ids_to_tokens(list(range(len(trimmed.tokenizer))))
    return full.tokenizer.convert_tokens_to_ids(names)


def test_the_texts_are_the_same_pieces(full: Student, trimmed: Student) -> None:
    assert len(full.tokenizer) == PIECES + 100
    assert len(trimmed.tokenizer) < 300
    assert trimmed.dropped_pieces == len(full.tokenizer) - len(trimmed.tokenizer)
    for text in TEXTS:
        assert pieces(trimmed, text) == pieces(full, text)
    assert pieces(trimmed, TEXTS[-1]).count("</s>") == 2
    assert pieces(trimmed, TEXTS[-1]).count("<unk>") == 1


def test_the_order_stays_and_sentinels_go(full: Student, trimmed: Student) -> None:
    assert trimmed.tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<pad>", "</s>", "<unk>"]
    assert trimmed.tokenizer.all_special_ids == [1, 2, 0]
    assert kept(full, trimmed) == sorted(kept(full, trimmed))
    assert not [piece for piece in trimmed.tokenizer.get_vocab() if piece.startswith("<extra_id")]


def test_a_sentinel_that_is_used_stays(folder: Path, full: Student) -> None:
    text = "Ann has <extra_id_0> apples and <extra_id_1>."
    student = load(folder, [*TEXTS, text], trim=True)
    assert pieces(student, text) == pieces(full, text)
    sentinels = [piece for piece in student.tokenizer.get_vocab() if piece.startswith("<extra_id")]
    assert sorted(sentinels) == ["<extra_id_0>", "<extra_id_1>"]


def test_any_other_text_can_still_be_written(full: Student, trimmed: Student) -> None:
    texts = prose()[::7]
    smaller = 0
    for text in texts:
        before, after = full.tokenizer(text)["input_ids"], trimmed.tokenizer(text)["input_ids"]
        assert after.count(UNKNOWN) == before.count(UNKNOWN)
        written = trimmed.tokenizer.decode(after, skip_special_tokens=True)
        assert written == full.tokenizer.decode(before, skip_special_tokens=True)
        smaller += len(after) > len(before)
    assert smaller > len(texts) / 2


@torch.inference_mode()
def test_the_student_says_what_the_full_one_says_with_these_pieces(
    full: Student, trimmed: Student
) -> None:
    old = torch.tensor(kept(full, trimmed))
    different = set()
    for text in TEXTS[:12]:
        prompt = full.tokenizer(text, return_tensors="pt")
        masked = full.model.generate(
            **prompt,
            do_sample=False,
            max_new_tokens=24,
            prefix_allowed_tokens_fn=lambda *_: old.tolist(),
        )
        own_prompt = trimmed.tokenizer(text, return_tensors="pt")
        own = trimmed.model.generate(**own_prompt, do_sample=False, max_new_tokens=24)
        assert torch.equal(old[own], masked)
        logits = full.model(**prompt, decoder_input_ids=masked).logits[..., old]
        own_logits = trimmed.model(**own_prompt, decoder_input_ids=own).logits
        torch.testing.assert_close(own_logits, logits)
        different.add(tuple(own[0].tolist()))
    assert len(different) > 4


def test_a_trimmed_student_is_the_same_each_time_and_after_saving(
    folder: Path, trimmed: Student, tmp_path: Path
) -> None:
    again = load(folder, trim=True)
    again.model.save_pretrained(tmp_path)
    again.tokenizer.save_pretrained(tmp_path)
    model, loading = T5ForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.vocab_size == len(trimmed.tokenizer)
    assert model.lm_head.out_features == len(trimmed.tokenizer)
    tied = model.lm_head.weight is model.shared.weight
    assert tied == (trimmed.model.lm_head.weight is trimmed.model.shared.weight)
    weights = model.state_dict()
    for name, weight in trimmed.model.state_dict().items():
        assert torch.equal(weights[name], weight), name
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, *prose()[:100]]:
        assert tokenizer(text)["input_ids"] == trimmed.tokenizer(text)["input_ids"]


def tiny_model(vocab_size: int) -> T5ForConditionalGeneration:
    shape = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    return T5ForConditionalGeneration(
        T5Config(**shape, vocab_size=vocab_size, decoder_start_token_id=0)
    )


def test_bpe_keeps_its_merges_and_bytes() -> None:
    lines = prose()
    full = train_tokenizer(lines, vocab_size=3000)
    model = tiny_model(len(full))
    full_rows = model.shared.weight.detach().clone()
    backend = trim_vocabulary(model, full, TEXTS)
    assert 259 < backend.get_vocab_size() < 500
    assert model.config.vocab_size == backend.get_vocab_size()
    for text in TEXTS:
        assert backend.encode(text).tokens == full.backend_tokenizer.encode(text).tokens
    for text in [*lines[:200], "漢字 🙂"]:
        assert backend.decode(backend.encode(text).ids) == text
    for piece, token in backend.get_vocab().items():
        assert torch.equal(model.shared.weight[token], full_rows[full.get_vocab()[piece]])


def unigram(vocab: dict[str, float], **options: object) -> PreTrainedTokenizerFast:
    special = {"<pad>": 0.0, "</s>": 0.0, "<unk>": 0.0}
    tokenizer = Tokenizer(models.Unigram(list((special | vocab).items()), 2, **options))
    tokenizer.add_special_tokens(list(special))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def trim(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Tokenizer:
    return trim_vocabulary(tiny_model(len(tokenizer)), tokenizer, texts)


def test_a_character_that_stands_in_longer_pieces_alone_stays_in_them() -> None:
    tokenizer = unigram({"a": -2, "b": -2, "ab": -3, "xa": -4, "ba": -3, "rare": -9})
    assert trim(tokenizer, ["a"]).get_vocab().keys() == {
        *("<pad>", "</s>", "<unk>", "a", "b", "xa", "rare")
    }


def test_an_unknown_character_costs_what_it_did() -> None:
    # x is known in xa alone: [xa, b] costs 60, [x, ab] costs 3 and 10 more than the rarest piece
    tokenizer = unigram({"a": -1, "b": -30, "ab": -3, "xa": -30, "aa": -100})
    assert tokenizer.tokenize("xab") == ["xa", "b"]
    assert trim(tokenizer, ["ab"]).encode("xab").tokens == ["xa", "b"]


def test_the_end_token_may_stand_anywhere() -> None:
    tokenizer = unigram({"a": -1, "b": -1, "ab": -1, "aab": -1, "END": 0})
    tokenizer.add_special_tokens({"eos_token": "END"})
    end = tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A END", special_tokens=[("END", end)]
    )
    assert tokenizer("ab")["input_ids"] == [5, end]
    trimmed = trim(tokenizer, ["ab"])
    assert trimmed.encode("ab").ids == [4, trimmed.token_to_id("END")]
    assert trimmed.token_to_id("END") < end


def test_byte_fallback_keeps_its_bytes() -> None:
    bytes_ = {f"<0x{byte:02X}>": -8.0 for byte in range(256)}
    letters = dict.fromkeys("<0x123456789ABCDEF>ab", -3.0)
    tokenizer = unigram(bytes_ | letters | {"ab": -1.0, "aab": -1.0}, byte_fallback=True)
    trimmed = trim(tokenizer, ["ab"])
    assert "aab" not in trimmed.get_vocab()
    assert trimmed.encode("é").tokens == ["<0xC3>", "<0xA9>"]


@pytest.mark.parametrize(
    ("tokenizer", "complaint"),
    [
        (models.WordLevel({"<unk>": 0, "a": 1}, "<unk>"), "is a WordLevel, but only Unigram"),
        (models.WordPiece({"[UNK]": 0, "a": 1}), "is a WordPiece, but only Unigram and BPE"),
    ],
)
def test_other_kinds_of_tokenizers_are_refused(tokenizer: models.Model, complaint: str) -> None:
    with pytest.raises(StudentError, match=complaint):
        trim(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(tokenizer)), ["a"])


def test_a_tokenizer_without_a_fast_form_is_refused(tmp_path: Path) -> None:
    tiny_model(300).save_pretrained(tmp_path)
    settings = {"tokenizer_class": "ByT5Tokenizer", "extra_ids": 0}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match=r"^model: .* no fast form, which export needs$"):
        load(tmp_path, trim=True)
