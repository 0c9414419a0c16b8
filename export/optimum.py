"""The layout of Hugging Face Optimum, which `ORTModelForSeq2SeqLM.from_pretrained` loads."""

import logging
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from export.checkpoint import Checkpoint, load_checkpoint
from export.parity import ParityError
from training.student.decoding import generate

COMPARED = 16  # examples


class OptimumMissingError(Exception):
    """Optimum's exporter is not installed."""


def export_with_optimum(source: Path, out: Path) -> None:
    """Writes the student in `source` to the new folder `out` with Optimum's own exporter.

    Raises StudentError, OptimumMissingError, OSError (also if `out` exists), and ParityError if
    Optimum's runner and transformers give different labels for one of the first examples.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists; choose another --out, or delete it")
    checkpoint = load_checkpoint(source)
    try:
        from optimum.exporters.onnx import main_export
    except ImportError as error:
        raise OptimumMissingError(
            f"the layout optimum needs the package optimum-onnx ({error}); "
            "install it, or Duet's extra export"
        ) from error
    logging.getLogger("optimum").setLevel(logging.ERROR)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        new = Path(temporary, "new")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns; the result is compared below
            main_export(
                str(source),
                new,
                task="text2text-generation-with-past",
                dtype="fp32",
                local_files_only=True,
                do_validation=False,  # it only warns, and writes the folder anyway
            )
        _compare(checkpoint, new)
        new.rename(out)


def _compare(checkpoint: Checkpoint, folder: Path) -> None:
    from optimum.onnxruntime import ORTModelForSeq2SeqLM

    record = checkpoint.record
    texts = [record.task.render(example.input) for example in checkpoint.examples[:COMPARED]]
    prompts = checkpoint.tokenizer(
        [record.predict.prefix + text for text in texts],
        truncation=True,
        max_length=record.max_input_tokens,
    )["input_ids"]
    students: tuple[Any, ...] = (checkpoint.model, ORTModelForSeq2SeqLM.from_pretrained(folder))
    expected, actual = (
        [tokens for tokens, _ in generate(student, prompts, record.max_label_tokens)]
        for student in students
    )
    if expected != actual:
        raise ParityError("Optimum's runner and transformers give different labels")
