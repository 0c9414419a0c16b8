"""Which device is chosen, and what is told of one that cannot be used.

`cupy` here is a made one: nothing of these tests runs on a GPU.
"""

import ctypes
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from export import verify
from export.bundle import BundleError, Precision
from service.engine.devices import CPU, CUDA_PROVIDER, DeviceChoice, DeviceError, candidates, cuda
from service.engine.onnx_runner import OnnxRunner
from tests.support.asynchronous_device import DEFERRED
from tests.support.bundles import write_bundle
from tests.support.tiny_students import Student

NO_DRIVER = "cudaErrorInsufficientDriver: CUDA driver version is insufficient"


@pytest.fixture
def gpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """An onnxruntime that was built for GPUs."""
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER, CPU.provider]
    )


def no_driver(*_: object) -> None:
    raise RuntimeError(NO_DRIVER)


def use_cupy(monkeypatch: pytest.MonkeyPatch, zeros: Callable[..., Any] = np.zeros) -> None:
    stream = SimpleNamespace(synchronize=lambda: None)
    cuda = SimpleNamespace(get_current_stream=lambda: stream)
    cupy = SimpleNamespace(zeros=zeros, empty=np.empty, cuda=cuda)
    monkeypatch.setitem(sys.modules, "cupy", cupy)


def names(choice: DeviceChoice, precision: Precision) -> list[str]:
    return ["cuda" if give is cuda else give().name for give in candidates(choice, precision)]


@pytest.mark.usefixtures("gpu_build")
@pytest.mark.parametrize(
    ("choice", "precision", "tried"),
    [
        ("auto", "fp32", ["cuda", "cpu"]),
        ("auto", "fp16", ["cuda", "cpu"]),
        ("auto", "bf16", ["cuda", "cpu"]),
        ("auto", "int8", ["cpu"]),
        ("cuda", "fp32", ["cuda"]),
        ("cuda", "int8", ["cuda"]),
        ("cpu", "fp32", ["cpu"]),
        ("cpu", "fp16", ["cpu"]),
    ],
)
def test_auto_is_the_gpu_and_else_the_cpu(
    choice: DeviceChoice, precision: Precision, tried: list[str]
) -> None:
    assert names(choice, precision) == tried


def test_auto_asks_for_no_gpu_where_onnxruntime_is_built_for_the_cpu() -> None:
    assert CUDA_PROVIDER not in onnxruntime.get_available_providers()
    assert names("auto", "fp32") == ["cpu"]
    assert names("cuda", "fp32") == ["cuda"]


def test_onnxruntime_for_the_cpu_is_told_of() -> None:
    with pytest.raises(DeviceError, match="computes on the CPU alone; install onnxruntime-gpu"):
        cuda()


@pytest.mark.usefixtures("gpu_build")
def test_a_missing_cupy_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"CuPy is missing .* install Duet's extra gpu"):
        cuda()


@pytest.mark.usefixtures("gpu_build")
def test_a_missing_driver_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    use_cupy(monkeypatch, no_driver)
    with pytest.raises(DeviceError, match=rf"no CUDA GPU can be used \({NO_DRIVER}\); Duet needs"):
        cuda()


@pytest.mark.usefixtures("gpu_build")
def test_a_missing_library_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_cupy(monkeypatch)  # and onnxruntime has no kernels for CUDA to load here
    with pytest.raises(DeviceError, match=r"load CUDA's libraries \(.*providers_cuda.*: cannot"):
        cuda()
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("gpu_build")
def test_a_gpu_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    use_cupy(monkeypatch)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: None)
    device = cuda()
    assert (device.name, device.provider) == ("cuda", CUDA_PROVIDER)
    assert device.precisions == ("fp32", "fp16", "bf16")
    assert device.arrays is sys.modules["cupy"]


@pytest.mark.usefixtures("gpu_build")
def test_auto_falls_back_and_says_so(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_cupy(monkeypatch, no_driver)
    source = verify.read(tiny_bundle)
    with caplog.at_level(logging.WARNING):
        assert OnnxRunner.on("auto", source, threads=1).device is CPU
    assert f"tiny cannot use the GPU: no CUDA GPU can be used ({NO_DRIVER})" in caplog.text
    with pytest.raises(DeviceError, match="no CUDA GPU"):
        OnnxRunner.on("cuda", source, threads=1)
    caplog.clear()
    assert OnnxRunner.on("cpu", source, threads=1).device is CPU
    assert not caplog.records


@pytest.mark.usefixtures("gpu_build")
def test_int8_is_for_the_cpu(
    tmp_path: Path, student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cupy(monkeypatch)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_: None)
    write_bundle(tmp_path / "bundle", student, precision="int8")
    source = verify.read(tmp_path / "bundle")
    assert OnnxRunner.on("auto", source, threads=1).device is CPU
    with pytest.raises(BundleError, match=r"precision int8 is for CPUs, .* fp32 or fp16 or bf16"):
        OnnxRunner.on("cuda", source, threads=1)


@pytest.mark.usefixtures("gpu_build")
def test_auto_without_a_gpu_refuses_precisions_for_gpus(
    tmp_path: Path, student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_cupy(monkeypatch, no_driver)
    write_bundle(tmp_path / "bundle", student, precision="fp16")
    with pytest.raises(BundleError, match=r"precision fp16 is for GPUs, .* fp32 or int8"):
        OnnxRunner.on("auto", verify.read(tmp_path / "bundle"), threads=1)


def test_what_cannot_be_loaded_on_a_gpu_may_be_on_the_cpu(tmp_path: Path, student: Student) -> None:
    write_bundle(tmp_path / "bundle", student, precision="bf16")  # no kernels for it here
    with pytest.raises(DeviceError, match=r"encoder\.onnx: onnxruntime cannot load it"):
        OnnxRunner(verify.read(tmp_path / "bundle"), 1, DEFERRED)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize(
    ("provider", "message"),
    [
        # as where onnxruntime cannot load its kernels, or the GPU is too old
        (CUDA_PROVIDER, "onnxruntime cannot use the GPU"),
        # there, but it has no kernels for a student's operators
        ("AzureExecutionProvider", r"coder\.onnx: onnxruntime computes Attention .*on the CPU, so"),
    ],
)
def test_what_onnxruntime_computes_elsewhere_is_told_of(
    tiny_bundle: Path, provider: str, message: str
) -> None:
    device = replace(CPU, provider=provider, title="the GPU")
    with pytest.raises(DeviceError, match=message):
        OnnxRunner(verify.read(tiny_bundle), 1, device)
