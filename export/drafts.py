"""Collects texts for the table of drafts: the training texts, and texts that the student writes."""

import logging
from pathlib import Path

from export.checkpoint import Checkpoint
from export.ngrams import write_draft_table
from export.parity import batches
from export.reference import OnnxStudent
from tasks.placeholders import Codec

INPUTS = 1000  # most inputs for which the student writes texts
MAX_SHARE = 0.1  # of the bundle's size

Ids = list[int]

log = logging.getLogger("duet.export")


def write_drafts(checkpoint: Checkpoint, student: OnnxStudent | None, path: Path) -> int:
    """Writes the table of drafts to `path`, and returns the number of its contexts."""
    task = checkpoint.record.task
    codecs = [task.codec(task.render(row.input)) for row in checkpoint.examples]
    pairs = _learnt(checkpoint, codecs)
    if student is not None:
        pairs += _written(checkpoint, student, codecs[:INPUTS])
    after_label = task.explain_given_label
    texts = [label for label, _ in pairs]
    texts += [[*label, *said] if after_label else said for label, said in pairs if said]
    start_id = checkpoint.model.config.decoder_start_token_id
    assert start_id is not None
    size = sum(file.stat().st_size for file in path.parent.iterdir())
    return write_draft_table(path, texts, start_id=start_id, max_bytes=int(MAX_SHARE * size))


def _learnt(checkpoint: Checkpoint, codecs: list[Codec]) -> list[tuple[Ids, Ids]]:
    """The labels and rationales that the student learnt, as tokens; [] for no rationale."""
    labels, rationales, explained = [], [], []
    for codec, row in zip(codecs, checkpoint.examples, strict=True):
        labels.append(codec.mask_label(row.label))
        rationales.append(codec.mask_rationale(row.rationale or ""))
        explained.append(checkpoint.record.explains and row.rationale is not None)
    ids = checkpoint.tokenizer(labels)["input_ids"], checkpoint.tokenizer(rationales)["input_ids"]
    return [(label, said if one else []) for label, said, one in zip(*ids, explained, strict=True)]


def _written(
    checkpoint: Checkpoint, student: OnnxStudent, codecs: list[Codec]
) -> list[tuple[Ids, Ids]]:
    """The labels and rationales that the student writes, as tokens; [] for no rationale."""
    record = checkpoint.record
    predict, explain = record.predict, record.explain
    log.info("generating texts for %d inputs, for the table of drafts", len(codecs))
    pairs: list[tuple[Ids, Ids]] = []
    for texts in batches([codec.text for codec in codecs]):
        labels = student.generate([predict.prefix + text for text in texts], predict.max_new_tokens)
        rationales: list[Ids] = [[] for _ in texts]
        if record.explains:
            rationales = student.generate(
                [explain.prefix + text for text in texts],
                explain.max_new_tokens,
                labels if record.task.explain_given_label else None,
            )
        pairs += zip(labels, rationales, strict=True)
    return pairs
