"""Bundles for tests: of small students with random weights, with transformers as the reference."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import onnx_ir as ir
import pytest
import torch
from pydantic import TypeAdapter

from export.bundle import DRAFT, GOLDEN, MODEL_CARD, TOKENIZER, Golden, Limits, Manifest, Provenance
from export.graphs import build_graphs, geometry_of
from export.ngrams import write_draft_table
from export.verify import read_manifest, seal
from tasks.task import LabelField, Task
from tests.support.tiny_students import Student, problems, tiny_student

TASK = Task(
    name="problems",
    fields=["text"],
    template="{{text}}",
    answer="arithmetic",
    examples=[{"text": "Ann has 3 apples and isn't hungry."}],
)
CHOICES = TASK.model_copy(  # the request brings the labels
    update={
        "fields": ["text", "choices"],
        "template": "{{text}}{% for choice in choices %} {{choice}}{% endfor %}",
        "labels": LabelField(field="choices"),
        "answer": None,
        "examples": [],
    }
)
LIMITS = Limits(input_tokens=64, label_tokens=12, rationale_tokens=48)


class Text(NamedTuple):
    """A text that transformers generates greedily."""

    text: str
    tokens: list[int]
    logprob: float


class Texts(NamedTuple):
    """The texts of both passes."""

    label: Text
    rationale: Text


@torch.inference_mode()
def reference(
    student: Student, text: str, limits: Limits = LIMITS, explain_given_label: bool = False
) -> Texts:
    """Both passes of transformers' own student, one prompt at a time."""
    label = _generate(student, TASK.predict_prefix + text, limits.label_tokens)
    prefix = label.tokens if explain_given_label else []
    return Texts(label, explanation(student, text, prefix, limits))


def explanation(
    student: Student, text: str, decoder_prefix: list[int], limits: Limits = LIMITS
) -> Text:
    """What transformers' student says after a decoder prefix, the tokens of a label."""
    return _generate(student, TASK.explain_prefix + text, limits.rationale_tokens, decoder_prefix)


@torch.inference_mode()
def _generate(
    student: Student, prompt: str, max_new_tokens: int, decoder_prefix: Sequence[int] = ()
) -> Text:
    inputs = student.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    read = torch.tensor([[student.model.config.decoder_start_token_id, *decoder_prefix]])
    ids = student.model.generate(
        **inputs, decoder_input_ids=read, do_sample=False, max_new_tokens=max_new_tokens
    )
    begin = read.shape[1]
    logits = student.model(**inputs, decoder_input_ids=ids[:, :-1]).logits[:, begin - 1 :]
    tokens = ids[:, begin:]
    logprobs = logits.log_softmax(-1).gather(-1, tokens.unsqueeze(-1))
    text = student.tokenizer.decode(tokens[0], skip_special_tokens=True)
    return Text(text.strip(), tokens[0].tolist(), float(logprobs.sum()))


def write_bundle(folder: Path, student: Student, **changes: Any) -> Manifest:
    """Exports `student` to the new folder `folder`. `changes` replace parts of the manifest."""
    folder.mkdir()
    for name, graph in build_graphs(student.model, changes.get("precision", "fp32")).items():
        ir.save(graph, folder / name)
    student.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    (folder / MODEL_CARD).write_text("# A student for tests\n")
    manifest = Manifest(
        name="tiny",
        version="1",
        task=TASK,
        model=geometry_of(student.model.config),
        precision="fp32",
        limits=LIMITS,
        metrics={},
        provenance=Provenance(
            base_model="random",
            recipe={},
            data_fingerprint="none",
            seed=0,
            code_version="test",
            parity={},
        ),
        license="Apache-2.0",
    ).model_copy(update=changes)
    golden = []
    after_label = manifest.task.explain_given_label
    plain = manifest.task.model_copy(update={"explain_given_label": False})
    if plain == TASK and manifest.precision == "fp32":
        for text in problems(2):
            label, rationale = reference(student, text, manifest.limits, after_label)
            said = rationale.text if manifest.explains else None
            golden.append(Golden(fields={"text": text}, label=label.text, rationale=said))
    (folder / GOLDEN).write_bytes(TypeAdapter(list[Golden]).dump_json(golden))
    return seal(folder, manifest)


def copy_bundle(source: Path, folder: Path, **changes: Any) -> Path:
    """Copies a bundle to the new folder `folder`. `changes` replace parts of the manifest."""
    shutil.copytree(source, folder)
    seal(folder, read_manifest(folder).model_copy(update=changes))
    return folder


@pytest.fixture(scope="session")
def student() -> Student:
    return tiny_student()


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory, student: Student) -> Path:
    """A bundle named tiny. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(folder, student)
    return folder


@pytest.fixture(scope="session")
def drafting_bundle(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Path:
    """The same bundle with every file that a bundle may have. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("drafting") / "tiny"
    shutil.copytree(tiny_bundle, folder)
    write_draft_table(folder / DRAFT, [[5, 6, 7, 8, 1]] * 3, start_id=0, max_bytes=1000)
    seal(folder, read_manifest(folder))
    return folder


@pytest.fixture(scope="session")
def labels_only_bundle(tmp_path_factory: pytest.TempPathFactory, student: Student) -> Path:
    """A bundle named plain, whose student does not explain. Copy it before you change it."""
    folder = tmp_path_factory.mktemp("bundles") / "plain"
    write_bundle(folder, student, name="plain", explains=False)
    return folder
