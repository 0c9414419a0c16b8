import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from export import verify
from export.bundle import DECODER, BundleError, Precision
from service.engine.onnx_runner import OnnxRunner
from service.engine.runner import StepInput, StepOutput
from service.engine.slots import Slots
from tests.support.bundles import write_bundle
from tests.support.tiny_students import Student, problems, tiny_student

CLEAR_REFS = Path("/proc/self/clear_refs")


def step(runner: OnnxRunner, slots: Slots, tokens: list[int]) -> StepOutput:
    """One token more for each row."""
    ids, positions = np.array(tokens)[:, None], slots.lengths[:, None]
    slots.open_step(positions)
    visible = np.arange(slots.width) <= positions[:, :, None]
    choices = runner.step(slots, StepInput(ids, positions, visible, ids))
    slots.lengths[:] += 1
    return choices


@pytest.mark.parametrize("kind", ["v1_0", "v1_1"])
def test_steps_give_what_transformers_gives(kind: str, tmp_path: Path) -> None:
    """Rows of different inputs, one joining late: arg-max and log-probability at every step."""
    student = tiny_student(kind)
    write_bundle(tmp_path / "bundle", student)
    runner = OnnxRunner(verify.read(tmp_path / "bundle"), threads=1)
    start = student.model.config.decoder_start_token_id
    slots = Slots(runner.specs, capacity=3)
    prompts = [student.tokenizer(text)["input_ids"] for text in problems(3)]
    written: list[list[int]] = [[], [], []]
    logprobs: list[list[float]] = [[], [], []]
    for i in range(40):
        if i in (0, 1, 5):
            slots.add(runner.encode(prompts[slots.count]))
        last = [tokens[-1] if tokens else start for tokens in written[: slots.count]]
        choices = step(runner, slots, last)
        for row in range(slots.count):
            written[row].append(int(choices.next_id[row, 0]))
            logprobs[row].append(float(choices.next_logprob[row, 0]))
    for prompt, tokens, values in zip(prompts, written, logprobs, strict=True):
        with torch.inference_mode():
            logits = student.model(
                input_ids=torch.tensor([prompt]),
                decoder_input_ids=torch.tensor([[start, *tokens[:-1]]]),
            ).logits[0]
        best = logits.log_softmax(-1).max(-1)
        assert tokens == best.indices.tolist()
        np.testing.assert_allclose(values, best.values, atol=1e-4)


def test_caches_are_updated_in_place(tiny_bundle: Path) -> None:
    runner = OnnxRunner(verify.read(tiny_bundle), threads=1)
    slots = Slots(runner.specs, capacity=4)
    slots.add(runner.encode([5, 6, 1]))
    slots.add(runner.encode([7, 1]))
    step(runner, slots, [4, 5])
    cache = slots.arrays["value.1"]
    first = cache[:2, :, 0].copy()
    assert first.any()
    step(runner, slots, [4, 5])
    assert slots.arrays["value.1"] is cache
    assert (cache[:2, :, 0] == first).all()
    assert cache[:2, :, 1].any()
    assert not cache[:2, :, 2:].any()
    assert not cache[2:].any()  # rows that are not in use


@pytest.mark.skipif(not CLEAR_REFS.exists(), reason="resident memory is told by Linux alone")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("tokens", [1, 4])
def test_a_step_copies_no_cache(tokens: int, precision: Precision, tmp_path: Path) -> None:
    """The most memory that a step takes is less than one of the caches, which all are large.

    A step that copies them, as one without bindings does, is measured beside it.
    """
    student = tiny_student(d_kv=64, num_heads=2)
    write_bundle(tmp_path / "bundle", student, precision=precision)
    runner = OnnxRunner(verify.read(tmp_path / "bundle"), threads=1)
    slots = Slots(runner.specs, capacity=2)
    for prompt in ([5, 6, 1], [7, 1]):
        slots.add(runner.encode(prompt))
    slots.lengths[:] = length = 40_000
    positions = np.tile(np.arange(length, length + tokens), (2, 1))
    slots.open_step(positions)
    slots.arrays["cache_positions"][:] = np.arange(slots.width)
    caches = [array for name, array in slots.arrays.items() if name.startswith(("key", "value"))]
    for cache in caches:
        cache[:] = 0.5
    visible = np.arange(slots.width) <= positions[:, :, None]
    ids = np.full_like(positions, 4)
    new = StepInput(ids, positions, visible, ids)

    memory = peak_memory(lambda: runner.step(slots, new))
    assert len(caches) == 4
    assert caches[0].nbytes > 40e6
    assert memory < caches[0].nbytes / 2
    for cache in caches:
        written = np.s_[:, :, length : length + tokens]
        assert (cache[written] != 0.5).all()
        cache[written] = 0.5
        assert (cache == 0.5).all()

    unbound = onnxruntime.InferenceSession(tmp_path / "bundle" / DECODER)
    feeds = slots.arrays | new._asdict()
    assert peak_memory(lambda: unbound.run(None, feeds)) > sum(cache.nbytes for cache in caches)


def peak_memory(call: Callable[[], object]) -> int:
    """How many bytes more than before are resident at most, while `call` runs."""

    def resident(field: str) -> int:
        status = Path("/proc/self/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024

    CLEAR_REFS.write_text("5")  # the peak is what is resident now
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def test_a_broken_graph_is_a_bundle_error(tiny_bundle: Path, tmp_path: Path) -> None:
    source = verify.read(tiny_bundle)
    for path in tiny_bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / DECODER).write_bytes(b"not a graph")
    broken = verify.Bundle(tmp_path, source.manifest, source.golden)
    with pytest.raises(BundleError, match=r"decoder\.onnx: onnxruntime cannot load it"):
        OnnxRunner(broken, threads=1)


def test_a_precision_for_gpus_is_a_bundle_error(student: Student, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", student, precision="fp16")
    with pytest.raises(BundleError, match=r"precision fp16 is for GPUs, .* fp32 or int8"):
        OnnxRunner(verify.read(tmp_path / "bundle"), threads=1)
