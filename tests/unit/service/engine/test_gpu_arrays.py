"""The engine with keys and values in another device's arrays: as on a GPU, but on this CPU."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from export import verify
from service.engine.devices import CPU, Device
from service.engine.engine import Engine
from service.engine.onnx_runner import BFLOAT16, OnnxRunner, _bind
from service.engine.prediction import Prediction, PredictRequest
from tests.support.asynchronous_device import DEFERRED, DeferredArray, pending
from tests.support.bundles import TASK, reference, write_bundle
from tests.support.tiny_students import Student, problems

TEXTS = problems(12)


def answers(folder: Path, device: Device, monkeypatch: pytest.MonkeyPatch) -> list[Prediction]:
    """To many requests at once, of few rows: they join, leave and take each other's places."""
    source = verify.read(folder)
    monkeypatch.setattr(OnnxRunner, "on", lambda *_: OnnxRunner(source, 1, device))
    engine = Engine(source, threads=1, max_rows=5)

    async def ask() -> list[Prediction]:
        requests = [PredictRequest(text, explain=True) for text in TEXTS]
        return await asyncio.gather(*map(engine.predict, requests))

    try:
        return asyncio.run(ask())
    finally:
        engine.close()


@pytest.fixture(autouse=True)
def nothing_pending() -> Iterator[None]:
    yield
    pending.clear()


def same(one: Prediction, other: Prediction) -> bool:
    return (one.label, one.rationale, one.scores) == (other.label, other.rationale, other.scores)


@pytest.mark.parametrize("labels", ["open", "many"])
def test_answers_are_the_same_as_with_numpy(
    tmp_path: Path, student: Student, labels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many labels, too: a large trie takes several steps, and keeps a part of its cache."""
    task = TASK
    if labels == "many":
        words = [f"{a} {b} {c}" for a in range(9) for b in range(9) for c in ("pens", "apples", a)]
        task = TASK.model_copy(update={"labels": words, "answer": None})
    write_bundle(tmp_path / "bundle", student, task=task)
    here = answers(tmp_path / "bundle", CPU, monkeypatch)
    there = answers(tmp_path / "bundle", DEFERRED, monkeypatch)
    assert all(map(same, here, there))
    assert [answer.rationale for answer in there] == [
        reference(student, text).rationale.text for text in TEXTS
    ]


def test_caches_lie_on_the_device_and_nothing_else_does(tiny_bundle: Path) -> None:
    runner = OnnxRunner(verify.read(tiny_bundle), 1, DEFERRED)
    slots = runner.new_slots(2)
    for array in runner.encode([5, 6, 1]).values():
        assert isinstance(array, DeferredArray)
    on_device = {name for name, array in slots.arrays.items() if isinstance(array, DeferredArray)}
    assert slots.arrays.keys() - on_device == {"write_index", "cache_positions", "cross_mask"}


def test_fp16_keeps_fp16_caches_and_nearly_the_same_answers(
    tmp_path: Path, student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime's CPU can compute it, if slowly; the service leaves it to GPUs."""
    write_bundle(tmp_path / "half", student, precision="fp16")
    runner = OnnxRunner(verify.read(tmp_path / "half"), 1, DEFERRED)
    slots = runner.new_slots(1)
    assert slots.arrays["key.0"].dtype == np.float16
    slots.add(runner.encode([5, 6, 1]))
    half = answers(tmp_path / "half", DEFERRED, monkeypatch)
    expected = [reference(student, text) for text in TEXTS]
    pairs = zip(half, expected, strict=True)
    agree = [one.rationale == voices.rationale.text for one, voices in pairs]
    assert sum(agree) >= len(TEXTS) - 2  # the rounding may turn a close choice


def test_bfloat16_goes_in_and_out_as_its_bits() -> None:
    shape = (1, 3)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["bits"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["numbers"], ["bits_again"], to=TensorProto.BFLOAT16),
        ],
        "casts",
        [helper.make_tensor_value_info("bits", TensorProto.BFLOAT16, shape)],
        [
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info("bits_again", TensorProto.BFLOAT16, shape),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=11)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    bits = np.array([[0x3F80, 0xC000, 0x3E80]], np.uint16)
    numbers, again = np.empty(shape, np.float32), np.zeros(shape, np.uint16)
    binding = session.io_binding()
    _bind(binding.bind_input, "bits", bits, shape)
    _bind(binding.bind_output, "numbers", numbers, shape)
    _bind(binding.bind_output, "bits_again", again, shape)
    session.run_with_iobinding(binding)
    assert onnx.TensorProto.BFLOAT16 == BFLOAT16
    assert numbers.tolist() == [[1.0, -2.0, 0.25]]
    assert (again == bits).all()
