"""Exports a distilled student: `python -m export.convert CHECKPOINT --out BUNDLE`."""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import jinja2
import onnx_ir as ir
import transformers
from pydantic import TypeAdapter

from export import bundle
from export.bundle import (
    BundleError,
    Fields,
    Geometry,
    Golden,
    Limits,
    Manifest,
    Name,
    Precision,
    Provenance,
    TaskSpec,
)
from export.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from export.gate import Gate, GateError, Measured, WorseError
from export.graphs import build_graphs, geometry_of
from export.layers import UnsupportedModelError
from export.ngrams import write_draft_table
from export.optimum import OptimumMissingError, export_with_optimum
from export.parity import LabelParity, Parity, ParityError, batches, check_labels, check_parity
from export.reference import NoKernelError, OnnxStudent, Voice

WANTED_INPUTS, PARITY_INPUTS = 200, 256  # of the parity gate: at least, and at most
DRAFT_INPUTS = 1000  # at most, that the student writes on for its table of drafts
MAX_DRAFT_SHARE = 0.1  # of the bundle
MAX_GRAPH_BYTES = 2**31 - 2**20  # protobuf's limit, less some room for what is not weights

log = logging.getLogger("duet.export")


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0; 1 where a gate fails; 2 for a checkpoint or an OUT that cannot serve."""
    parser = argparse.ArgumentParser(prog="export.convert", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="folder that training/distill.py wrote")
    parser.add_argument(
        "--out", type=Path, required=True, help="the bundle; an old one is replaced"
    )
    parser.add_argument("--version", type=_version, default="1", help="of the bundle (default: 1)")
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="fp32",
        help="of weights and activations; fp16 and bf16 are for GPUs (default: fp32)",
    )
    parser.add_argument(
        "--layout",
        choices=("duet", "optimum"),
        default="duet",
        help="duet: a bundle; optimum: a folder for ORTModelForSeq2SeqLM (default: duet)",
    )
    parser.add_argument(
        "--gate-against",
        type=Path,
        metavar="BUNDLE",
        help="refuse a student that is significantly worse than this one's (with --data)",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="labelled rows that neither learnt, as JSON lines, CSV or Parquet",
    )
    arguments = parser.parse_args(argv)
    if arguments.layout == "optimum" and arguments.precision != "fp32":
        parser.error("the layout optimum has no --precision but fp32")
    if arguments.layout == "optimum" and arguments.gate_against:
        parser.error("the layout optimum has no --gate-against")
    if (arguments.gate_against is None) != (arguments.data is None):
        parser.error("--gate-against BUNDLE and --data FILE need each other")
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    transformers.logging.set_verbosity_error()
    try:
        if arguments.layout == "optimum":
            export_with_optimum(arguments.checkpoint, arguments.out)
            log.info("wrote %s", arguments.out)
        else:
            convert(
                arguments.checkpoint,
                arguments.out,
                arguments.version,
                arguments.precision,
                arguments.gate_against,
                arguments.data,
            )
    except (ParityError, WorseError) as error:
        print(f"convert: no bundle written: {error}", file=sys.stderr)
        return 1
    except (
        CheckpointError,
        UnsupportedModelError,
        OptimumMissingError,
        BundleError,
        GateError,
        OSError,
    ) as error:
        print(f"convert: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("convert: stopped; no bundle written", file=sys.stderr)
        return 130
    return 0


def convert(
    source: Path,
    out: Path,
    version: str,
    precision: Precision = "fp32",
    gate_against: Path | None = None,
    data: Path | None = None,
) -> None:
    """Writes the bundle of the student in `source` to `out`, if it passes the gates.

    They are parity, and, where `gate_against` is a bundle, not to be worse than that one on the
    labelled rows of the file `data`. A bundle that is at `out` already, perhaps the same, stays
    until the new one is complete. Raises CheckpointError, UnsupportedModelError, BundleError (`out`
    is something else), GateError, ParityError, WorseError, OSError.
    """
    if out.exists():
        _require_bundle(out)
    log.info("reading %s", source)
    checkpoint = load_checkpoint(source)
    command = ["python", "-m", "export.convert", str(source), "--out", str(out)]
    command += ["--version", version, "--precision", precision]
    gate = None
    if gate_against is not None and data is not None:
        gate = Gate.open(gate_against, data, checkpoint.record.task)
        command += ["--gate-against", str(gate_against), "--data", str(data)]
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        new.mkdir()
        write_bundle(checkpoint, new, version, precision, shlex.join(command), gate)
        _replace(out, new, old)
    log.info("wrote %s", out)


def write_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    version: str,
    precision: Precision,
    command: str,
    gate: Gate | None = None,
) -> None:
    """Fills an empty folder; `command` is for the model card.

    Raises ParityError, UnsupportedModelError for a T5 that has no place in ONNX, and what
    `Gate.admit` raises.
    """
    record, model = checkpoint.record, checkpoint.model
    log.info("building the graphs of %.1f M parameters", model.num_parameters() / 1e6)
    for name, graph in build_graphs(model, precision).items():
        _save(graph, folder / name)
    tokenizer = checkpoint.tokenizer.backend_tokenizer
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / bundle.TOKENIZER))

    geometry = geometry_of(model.config)
    student = _load(folder, geometry, precision, record.max_input_tokens)
    parity: Measured = {"not_run": f"onnxruntime's CPU provider cannot run {precision}"}
    golden: list[Golden] = []
    if student is not None:
        parity = _check_parity(checkpoint, student, precision)
        golden = [_golden(checkpoint, student, fields) for fields in checkpoint.golden]
    (folder / bundle.GOLDEN).write_bytes(TypeAdapter(list[Golden]).dump_json(golden, indent=2))

    _write_draft(checkpoint, student, folder / bundle.DRAFT)

    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6

    def seal(gate: Measured) -> None:
        manifest = _manifest(checkpoint, version, geometry, precision, parity, gate)
        card = _render_card(
            manifest=manifest,
            record=record,
            golden=golden[0].model_dump_json(indent=2) if golden else None,
            command=command,
            parameters=model.num_parameters(),
            megabytes=megabytes,
        )
        (folder / bundle.MODEL_CARD).write_text(card, encoding="utf-8")
        bundle.seal(folder, manifest)

    seal({})
    if gate is not None:
        seal(gate.admit(folder))  # which serves it, and so needs it sealed


def _require_bundle(out: Path) -> None:
    try:
        bundle.read(out)
    except BundleError as error:
        raise BundleError(
            f"{out} exists and is no bundle, so it is not replaced ({error}); "
            "choose another --out, or delete it"
        ) from error


def _replace(out: Path, new: Path, old: Path) -> None:
    """Moves `new` to `out`, and what was there to `old`. If that fails, all is as before."""
    if not out.exists():
        new.rename(out)
        return
    out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        old.rename(out)
        raise


def _save(graph: ir.Model, path: Path) -> None:
    weights = [value.const_value for value in graph.graph.initializers.values()]
    size = sum(weight.nbytes for weight in weights if weight is not None)
    if size > MAX_GRAPH_BYTES:
        raise UnsupportedModelError(
            f"{path.name} would be {size / 1e9:.1f} GB, but an ONNX file holds at most 2 GB"
        )
    ir.save(graph, path)


def _load(
    folder: Path, geometry: Geometry, precision: Precision, max_input_tokens: int
) -> OnnxStudent | None:
    """The student that was exported to `folder`; None where only a GPU can run it."""
    try:
        return OnnxStudent(folder, geometry, max_input_tokens)
    except NoKernelError as error:
        if precision not in ("fp16", "bf16"):
            raise
        log.warning(
            "WARNING: THE PARITY GATE WAS NOT RUN: this processor cannot run %s (%s). "
            "Compare the bundle's answers with the student's on a GPU before you use it.",
            precision,
            error,
        )
        return None


def _voices(checkpoint: Checkpoint) -> tuple[Voice, Voice]:
    task, record = checkpoint.record.task, checkpoint.record
    return (
        Voice(task.predict_prefix, record.max_label_tokens),
        Voice(task.explain_prefix, record.max_rationale_tokens),
    )


def _golden(checkpoint: Checkpoint, student: OnnxStudent, fields: Fields) -> Golden:
    """What the graphs give for one input, alone, as the service encodes.

    Beside padding the last digits of a sum can differ.
    """
    task = checkpoint.record.task
    predict, explain = _voices(checkpoint)
    codec, labels = task.codec(task.render(fields)), task.labels_of(fields)
    if labels is None:
        (label,) = student.write([codec.text], predict)
    else:
        label = student.choose(predict.prefix + codec.text, labels)
    (rationale,) = student.write([codec.text], explain)
    return Golden(
        fields=fields,
        label=codec.unmask_label(label),
        rationale=codec.unmask_rationale(rationale),
    )


def _check_parity(checkpoint: Checkpoint, student: OnnxStudent, precision: Precision) -> Measured:
    """What the parity gate measured of the graphs."""
    predict, explain = _voices(checkpoint)
    task, model, tokenizer = checkpoint.record.task, checkpoint.model, checkpoint.tokenizer
    rows = checkpoint.validation
    if precision == "fp32":
        rows = checkpoint.examples[:PARITY_INPUTS]
    codecs = [task.codec(task.render(row.input)) for row in rows]
    log.info("comparing with transformers on %d inputs", len(codecs))
    parity: Parity | LabelParity
    if precision == "fp32":
        if len(codecs) < WANTED_INPUTS:
            log.warning("warning: a parity gate of fewer than %d inputs proves less", WANTED_INPUTS)
        texts = [codec.text for codec in codecs]
        parity = check_parity(model, tokenizer, student, texts, [predict, explain])
    else:
        labelled = [(codec, row.label) for codec, row in zip(codecs, rows, strict=True)]
        parity = check_labels(model, tokenizer, student, task, labelled, predict, explain)
    log.info("parity: %s", ", ".join(f"{key} {value:.3g}" for key, value in asdict(parity).items()))
    return asdict(parity) | {"reference": f"transformers {transformers.__version__}"}


def _write_draft(checkpoint: Checkpoint, student: OnnxStudent | None, path: Path) -> None:
    """Writes the table of what was said in training, and of what the student makes of it."""
    task, examples = checkpoint.record.task, checkpoint.examples
    codecs = [task.codec(task.render(row.input)) for row in examples]
    said = []
    for codec, row in zip(codecs, examples, strict=True):
        said.append(codec.mask_label(row.label))
        if row.rationale is not None:
            said.append(codec.mask_rationale(row.rationale))
    texts = checkpoint.tokenizer(said)["input_ids"]
    if student is not None:
        inputs = [codec.text for codec in codecs[:DRAFT_INPUTS]]
        log.info("writing on %d inputs, for the table of drafts", len(inputs))
        for voice in _voices(checkpoint):
            for prompts in batches([voice.prefix + text for text in inputs]):
                texts += student.generate(prompts, voice.max_new_tokens)
    held = write_draft_table(
        path,
        texts,
        start_id=geometry_of(checkpoint.model.config).decoder_start_id,
        max_bytes=int(MAX_DRAFT_SHARE * sum(file.stat().st_size for file in path.parent.iterdir())),
    )
    log.info("the table of drafts holds %d contexts", held)


def _manifest(
    checkpoint: Checkpoint,
    version: str,
    geometry: Geometry,
    precision: Precision,
    parity: Measured,
    gate: Measured,
) -> Manifest:
    record = checkpoint.record
    return Manifest(
        name=record.name,
        version=version,
        task=TaskSpec(**record.task.model_dump(), examples=checkpoint.golden),
        model=geometry,
        precision=precision,
        limits=Limits(
            input_tokens=record.max_input_tokens,
            label_tokens=record.max_label_tokens,
            rationale_tokens=record.max_rationale_tokens,
        ),
        calibration=checkpoint.calibration,
        metrics=record.metrics,
        provenance=Provenance(
            base_model=record.base_model,
            recipe=record.recipe.model_dump(),
            data_fingerprint=record.data.fingerprint,
            seed=record.seed,
            code_version=record.code_version,
            parity=parity,
            gate=gate,
        ),
        license=record.license,
    )


def _render_card(**facts: object) -> str:
    template = files("export").joinpath("model_card.md.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(template).render(facts)


def _version(text: str) -> str:
    return TypeAdapter(Name).validate_python(text)


if __name__ == "__main__":
    sys.exit(main())
