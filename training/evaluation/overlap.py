"""Overlap: how close a rationale is to the teacher's, in words and, by a model, in meaning."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from absl import logging as absl_logging
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from training.evaluation.record import Record
from training.student.files import StudentError
from training.student.hub import not_cached, why_not_on_hub

# rouge-score adds a log handler of absl's. When logging is configured again, that handler closes
# the stream that was stderr at the import.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__


class EmbedderError(RuntimeError):
    """The embedding model cannot be loaded. The message says why."""


@dataclass(frozen=True)
class Overlap:
    """The overlap of one rationale with its reference, or of all rationales with theirs.

    Values are from 0 to 100; the similarity is from -1 to 1. For all, BLEU (Papineni et al., 2002)
    and chrF (Popović, 2015) are of the corpus, and ROUGE (Lin, 2004), F1 with stems, is the mean.
    For one, BLEU is by its effective order.
    """

    bleu: float
    chrf: float
    rouge_1: float
    rouge_2: float
    rouge_l: float
    similarity: float | None = None  # cosine of the embeddings, if there is a model


@dataclass(frozen=True)
class Overlaps:
    """The overlap of each of N records (None without rationale or reference), and of all."""

    rows: list[Overlap | None]
    corpus: Overlap | None  # None where no row has both
    signatures: dict[str, str]  # sacrebleu's, with which others compute the same figures


def overlaps(records: Sequence[Record], embedder: str | None = None) -> Overlaps:
    """Compares each rationale with its reference.

    `embedder` is the folder or name of an embedding model, as sentence-transformers loads one.
    Raises EmbedderError where it cannot.
    """
    pairs = {
        place: (record.rationale, record.reference)
        for place, record in enumerate(records)
        if record.rationale is not None and record.reference is not None
    }
    bleu, chrf = BLEU(), CHRF()
    sentence_bleu = BLEU(effective_order=True)  # as a short text may have no matching 4-gram
    rouge = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    rows: list[Overlap | None] = [None] * len(records)
    if not pairs:
        return Overlaps(rows, None, {})
    texts = [text for text, _ in pairs.values()]
    references = [reference for _, reference in pairs.values()]
    similarities = None if embedder is None else _similarities(embedder, texts, references)
    measured = []
    for number, (place, (text, reference)) in enumerate(pairs.items()):
        scores = rouge.score(reference, text)
        row = Overlap(
            bleu=sentence_bleu.sentence_score(text, [reference]).score,
            chrf=chrf.sentence_score(text, [reference]).score,
            rouge_1=100 * scores["rouge1"].fmeasure,
            rouge_2=100 * scores["rouge2"].fmeasure,
            rouge_l=100 * scores["rougeL"].fmeasure,
            similarity=None if similarities is None else similarities[number],
        )
        rows[place] = row
        measured.append(row)
    corpus = Overlap(
        bleu=bleu.corpus_score(texts, [references]).score,
        chrf=chrf.corpus_score(texts, [references]).score,
        rouge_1=fmean(row.rouge_1 for row in measured),
        rouge_2=fmean(row.rouge_2 for row in measured),
        rouge_l=fmean(row.rouge_l for row in measured),
        similarity=None if similarities is None else fmean(similarities),
    )
    signatures = {"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())}
    return Overlaps(rows, corpus, signatures)


def _similarities(embedder: str, texts: list[str], references: list[str]) -> list[float]:
    from sentence_transformers import SentenceTransformer  # slow to import, and rarely needed

    try:
        why = None if Path(embedder).is_dir() else why_not_on_hub(embedder)
    except StudentError as error:
        raise EmbedderError(f"--embedder: {error}") from error
    try:
        model = SentenceTransformer(embedder, local_files_only=why is not None)
    except Exception as error:  # transformers, safetensors and tokenizers raise many kinds
        if why is not None:
            raise EmbedderError(f"--embedder: {not_cached(embedder, why, 'model')}") from error
        reason = " ".join(str(error).split())
        raise EmbedderError(
            f"{embedder} cannot be loaded as an embedding model ({reason})"
        ) from error
    ours, theirs = (
        model.encode(part, normalize_embeddings=True, show_progress_bar=False)
        for part in (texts, references)
    )
    return [float(cosine) for cosine in (ours * theirs).sum(1)]
