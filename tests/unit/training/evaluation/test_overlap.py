import subprocess
import sys
from pathlib import Path

import pytest
import sacrebleu
import torch
from rouge_score import rouge_scorer
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from tests.conftest import ROOT
from tests.support.pretrained_t5 import prose
from tests.support.rationale_records import record
from training.evaluation.overlap import EmbedderError, overlaps
from training.student.load import train_tokenizer

TEACHER = "Ada had 3 apples and got 4 more. So 3 + 4 = 7."
TEXTS = [TEACHER, "Ada had 3 pears and got 4 more. So she has 7.", "Nothing.", ""]
PLACES = [0, 1, 3, 4]  # what stands between has no rationale


def rows() -> list:
    made = [record(text, reference=TEACHER) for text in TEXTS]
    return [*made[:2], record(None, reference=TEACHER), *made[2:], record("So.", reference=None)]


def test_it_is_what_the_libraries_say_one_by_one_and_together() -> None:
    found = overlaps(rows())
    assert [place for place, row in enumerate(found.rows) if row is not None] == PLACES
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    for place, text in zip(PLACES, TEXTS, strict=True):
        row = found.rows[place]
        assert row is not None
        assert row.bleu == sacrebleu.sentence_bleu(text, [TEACHER]).score
        assert row.chrf == sacrebleu.sentence_chrf(text, [TEACHER]).score
        rouge = scorer.score(TEACHER, text)
        assert row.rouge_l == pytest.approx(100 * rouge["rougeL"].fmeasure)
        assert row.similarity is None
    assert found.corpus is not None
    assert found.corpus.bleu == sacrebleu.corpus_bleu(TEXTS, [[TEACHER] * 4]).score
    assert found.corpus.chrf == sacrebleu.corpus_chrf(TEXTS, [[TEACHER] * 4]).score
    assert found.corpus.rouge_l == pytest.approx(
        sum(found.rows[place].rouge_l for place in PLACES) / 4
    )
    assert "tok:13a" in found.signatures["bleu"]


def test_values_by_hand() -> None:
    (same,) = overlaps([record(TEACHER, reference=TEACHER)]).rows
    assert (same.bleu, same.chrf, same.rouge_1) == (pytest.approx(100),) * 3
    # of "a b c d" against "a b d c": 4 of 4 words, 1 of 3 pairs, and 3 in the common order
    (row,) = overlaps([record("a b c d", reference="a b d c")]).rows
    assert row.rouge_1 == pytest.approx(100)
    assert row.rouge_2 == pytest.approx(100 / 3)
    assert row.rouge_l == pytest.approx(75)
    # 5 of 6 words, 4 of 5 pairs, 3 of 4 triples, 2 of 3 quadruples: (5/6 4/5 3/4 2/3)^(1/4)
    (row,) = overlaps([record("a b c d e x", reference="a b c d e f")]).rows
    assert row.bleu == pytest.approx(100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)


def test_no_pair_no_overlap() -> None:
    found = overlaps([record(None, reference=TEACHER), record("So.")])
    assert (found.rows, found.corpus) == ([None, None], None)


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny BERT with random weights, as transformers saves one."""
    folder = str(tmp_path_factory.mktemp("embedder"))
    tokenizer = train_tokenizer(prose()[:500], 400)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    BertModel(BertConfig(vocab_size=len(tokenizer), intermediate_size=64, **shape)).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


def test_similarity_is_the_cosine_of_mean_embeddings(embedder: str) -> None:
    found = overlaps(rows(), embedder)
    model, tokenizer = AutoModel.from_pretrained(embedder), AutoTokenizer.from_pretrained(embedder)
    for place, text in zip(PLACES, TEXTS, strict=True):
        with torch.no_grad():
            ours, theirs = (
                model(**tokenizer([one], return_tensors="pt")).last_hidden_state[0].mean(0)
                for one in (text, TEACHER)
            )
        expected = float(torch.cosine_similarity(ours, theirs, dim=0))
        assert found.rows[place].similarity == pytest.approx(expected, abs=1e-5)
    assert found.rows[0].similarity == pytest.approx(1, abs=1e-6)
    assert found.corpus.similarity == pytest.approx(
        sum(found.rows[place].similarity for place in PLACES) / 4
    )


def test_an_embedder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match=f"{tmp_path} cannot be loaded as an embedding model"):
        overlaps(rows(), str(tmp_path))


def test_it_leaves_open_what_stands_for_stderr() -> None:
    """Else a program that replaced it, and configures logging anew, ends without a word."""
    program = """
import io, logging.config, sys
sys.stderr = replaced = io.StringIO()
import training.evaluation.overlap
sys.stderr = sys.__stderr__
logging.config.dictConfig({"version": 1})
replaced.write("still open")
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
