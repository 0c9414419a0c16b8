"""Writes a bundle's files: graphs, tokenizer, golden examples, drafts, card and manifest."""

import logging
from dataclasses import asdict
from pathlib import Path

import onnx_ir as ir
import transformers
from pydantic import TypeAdapter

from export import bundle, verify
from export.bundle import Geometry, Golden, Limits, Manifest, Precision, Provenance
from export.checkpoint import Checkpoint
from export.drafts import write_drafts
from export.graphs import build_graphs, geometry_of
from export.layers import UnsupportedModelError
from export.parity import LabelParity, Parity, check_labels, check_parity
from export.reference import NoKernelError, OnnxStudent
from tasks.task import Fields, Task
from training.student.model_card import render_card

WANTED_INPUTS, PARITY_INPUTS = 200, 256  # of the parity gate: at least, and at most
MAX_GRAPH_BYTES = 2**31 - 2**20  # protobuf's limit, less some room for the rest of the graph

Measured = dict[str, float | int | str]

log = logging.getLogger("duet.export")


def write_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    version: str,
    precision: Precision,
    command: str,
    notes: str = "",
) -> None:
    """Writes a bundle into an empty folder. `command` and `notes` are for the model card.

    Raises ParityError, and UnsupportedModelError for a T5 that ONNX cannot hold.
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

    contexts = write_drafts(checkpoint, student, folder / bundle.DRAFT)
    log.info("the table of drafts holds %d contexts", contexts)

    megabytes = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    manifest = _manifest(checkpoint, version, geometry, precision, parity)
    card = render_card(
        "export",
        task=manifest.task,
        metrics=manifest.metrics,
        manifest=manifest,
        record=record,
        golden=golden[0].model_dump_json(indent=2, exclude_none=True) if golden else None,
        command=command,
        notes=notes,
        parameters=model.num_parameters(),
        megabytes=megabytes,
    )
    (folder / bundle.MODEL_CARD).write_text(card, encoding="utf-8")
    verify.seal(folder, manifest)


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
    """The exported student in `folder`, or None if only a GPU can run it."""
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


def _golden(checkpoint: Checkpoint, student: OnnxStudent, fields: Fields) -> Golden:
    """The golden example of one input. Computes it alone, as the service does.

    In a batch with padding, the last digits of a sum may differ.
    """
    task = checkpoint.record.task
    predict, explain = checkpoint.record.predict, checkpoint.record.explain
    codec, labels = task.codec(task.render(fields)), task.labels_of(fields)
    prompt = predict.prefix + codec.text
    if labels is None:
        (tokens,) = student.generate([prompt], predict.max_new_tokens)
        label = student.text(tokens)
    else:
        label = labels[student.choose(prompt, labels)]
        (tokens,) = student.tokens([label])
    rationale = None
    if checkpoint.record.explains:
        (said,) = student.generate(
            [explain.prefix + codec.text],
            explain.max_new_tokens,
            [tokens] if task.explain_given_label else None,
        )
        rationale = codec.unmask_rationale(student.text(said))
    return Golden(fields=fields, label=codec.unmask_label(label), rationale=rationale)


def _check_parity(checkpoint: Checkpoint, student: OnnxStudent, precision: Precision) -> Measured:
    """The measurements of the parity gate. Raises ParityError."""
    task, passes = checkpoint.record.task, checkpoint.record.passes
    model, tokenizer = checkpoint.model, checkpoint.tokenizer
    rows = checkpoint.validation
    if precision == "fp32":
        rows = checkpoint.examples[:PARITY_INPUTS]
    codecs = [task.codec(task.render(row.input)) for row in rows]
    log.info("comparing with transformers on %d inputs", len(codecs))
    parity: Parity | LabelParity
    if precision == "fp32":
        if len(codecs) < WANTED_INPUTS:
            log.warning("warning: fewer than %d inputs make a weak parity gate", WANTED_INPUTS)
        texts = [codec.text for codec in codecs]
        parity = check_parity(model, tokenizer, student, texts, passes, task.explain_given_label)
    else:
        labelled = [(codec, row.label) for codec, row in zip(codecs, rows, strict=True)]
        parity = check_labels(model, tokenizer, student, task, labelled, passes)
    found = {key: value for key, value in asdict(parity).items() if value is not None}
    log.info("parity: %s", ", ".join(f"{key} {value:.3g}" for key, value in found.items()))
    return found | {"reference": f"transformers {transformers.__version__}"}


def _manifest(
    checkpoint: Checkpoint,
    version: str,
    geometry: Geometry,
    precision: Precision,
    parity: Measured,
) -> Manifest:
    record = checkpoint.record
    return Manifest(
        name=record.name,
        version=version,
        task=Task(**record.task.model_dump() | {"examples": checkpoint.golden}),
        model=geometry,
        precision=precision,
        limits=Limits(
            input_tokens=record.max_input_tokens,
            label_tokens=record.max_label_tokens,
            rationale_tokens=record.max_rationale_tokens,
        ),
        explains=record.explains,
        calibration=checkpoint.calibration,
        metrics=record.metrics,
        provenance=Provenance(
            base_model=record.base_model,
            recipe=record.recipe.model_dump(),
            data_fingerprint=record.data.fingerprint,
            seed=record.seed,
            code_version=record.code_version,
            parity=parity,
        ),
        license=record.license,
    )
