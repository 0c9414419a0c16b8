"""onnxruntime's build for GPUs, with and without a GPU: `make test-gpu-build`."""

import ctypes
import json
import subprocess
import urllib.request
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from export import verify
from service.engine.devices import CPU, CUDA_PROVIDER, DeviceError, _load_libraries
from service.engine.onnx_runner import OnnxRunner
from service.settings import EMBEDDED_STUDENT
from tests.support.server_process import ROOT, TIMEOUT, command, environment, serve

if CUDA_PROVIDER not in onnxruntime.get_available_providers():
    pytest.skip("needs onnxruntime-gpu: make test-gpu-build", allow_module_level=True)


def has_gpu() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


without_gpu = pytest.mark.skipif(has_gpu(), reason="there is a GPU")
with_gpu = pytest.mark.skipif(not has_gpu(), reason="there is no GPU")
STUDENT = verify.read(EMBEDDED_STUDENT)


def predicts_its_golden_examples(url: str) -> bool:
    for golden in STUDENT.golden:
        body = json.dumps({"inputs": golden.fields, "explain": True}).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{url}/predict", body, headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            answer = json.load(response)
        if (answer["label"], answer["rationale"]) != (golden.label, golden.rationale):
            return False
    return bool(STUDENT.golden)


@without_gpu
def test_cuda_without_a_gpu_does_not_start_and_says_why() -> None:
    done = subprocess.run(
        command("--port", "0", "--device", "cuda"),
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("duet: no CUDA GPU can be used (")
    assert "NVIDIA's driver" in done.stderr
    assert done.stderr.count("\n") == 1


@without_gpu
@pytest.mark.parametrize("settings", [{}, {"DUET_DEVICE": "auto"}, {"DUET_DEVICE": "cpu"}])
def test_auto_without_a_gpu_serves_on_the_cpu_and_says_so(
    settings: dict[str, str], tmp_path: Path
) -> None:
    with serve(tmp_path / "log", **settings) as server:
        log = server.log.read_text()
        assert "Duet serves svamp-numbers on the CPU." in log
        said = "svamp-numbers cannot use the GPU: no CUDA GPU can be used" in log
        assert said == (settings.get("DUET_DEVICE") != "cpu")
        assert predicts_its_golden_examples(server.url)


@without_gpu
def test_a_missing_library_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match=r"\(lib\w+\.so\S*: cannot open shared object file"):
        _load_libraries()
    assert capfd.readouterr() == ("", "")


@without_gpu
def test_kernels_that_onnxruntime_leaves_out_are_noticed() -> None:
    device = replace(CPU, provider=CUDA_PROVIDER, title="the GPU")
    with pytest.raises(DeviceError, match="onnxruntime cannot use the GPU"):
        OnnxRunner(STUDENT, 1, device)


@with_gpu
def test_a_gpu_gives_the_same_answers(tmp_path: Path) -> None:
    with serve(tmp_path / "log", "--device", "cuda") as server:
        assert "Duet serves svamp-numbers on the GPU." in server.log.read_text()
        assert predicts_its_golden_examples(server.url)
