"""Devices: where a model computes, and the array library for that device's memory.

On a GPU, keys and values are CuPy arrays. CuPy has numpy's interface, so the same code serves both.
"""

import contextlib
import ctypes
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime

from export.bundle import Precision

DeviceChoice = Literal["auto", "cpu", "cuda"]


class DeviceError(Exception):
    """A device cannot be used. The message says what is missing and what to do."""


@dataclass(frozen=True)
class Device:
    """A device on which onnxruntime computes, and its array library."""

    name: str  # the device's name in onnxruntime
    title: str  # the device's name in messages
    provider: str  # onnxruntime's execution provider
    options: dict[str, str]  # the provider's options
    precisions: tuple[Precision, ...]  # precisions of the bundles that it can compute
    arrays: Any  # numpy, or a library with its interface, for arrays in the device's memory
    address: Callable[[Any], int]  # returns the address of an array's first element
    synchronize: Callable[[], None]  # waits until all work on `arrays` is done


CPU = Device(
    name="cpu",
    title="the CPU",
    provider="CPUExecutionProvider",
    options={},
    precisions=("fp32", "int8"),
    arrays=np,
    address=lambda array: int(array.ctypes.data),
    synchronize=lambda: None,
)
CUDA_PROVIDER = "CUDAExecutionProvider"
CUDA_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")


def available_providers() -> list[str]:
    """The execution providers of the installed onnxruntime. The machine may lack their devices."""
    providers: list[str] = onnxruntime.get_available_providers()
    return providers


def candidates(choice: DeviceChoice, precision: Precision) -> list[Callable[[], Device]]:
    """Functions, in the order to try, that return a device for a bundle of this precision."""
    if choice == "cuda":
        return [cuda]
    by_itself = precision in CUDA_PRECISIONS and CUDA_PROVIDER in available_providers()
    return [cuda, lambda: CPU] if choice == "auto" and by_itself else [lambda: CPU]


def cuda() -> Device:
    """The first GPU that this process may use. Raises DeviceError if there is none."""
    if CUDA_PROVIDER not in available_providers():
        raise DeviceError(
            "the installed onnxruntime computes on the CPU alone; install onnxruntime-gpu and "
            "cupy-cuda13x in its place (Duet's extra gpu, instead of cpu)"
        )
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(f"CuPy is missing ({error}); install Duet's extra gpu") from error
    try:
        cupy.zeros((2, 2)).swapaxes(0, 1)[1:] = 1  # the operations that slots use; compiled here
    except Exception as error:  # CuPy's errors share no narrower class
        raise DeviceError(
            f"no CUDA GPU can be used ({error}); Duet needs a GPU that this process may use, "
            "NVIDIA's driver for CUDA 13, and the toolkit's libraries (cupy-cuda13x[ctk])"
        ) from error
    _load_libraries()
    return Device(
        name="cuda",
        title="the GPU",
        provider=CUDA_PROVIDER,
        options={"use_tf32": "0"},  # TF32 rounds fp32 to 10 bits
        precisions=CUDA_PRECISIONS,
        arrays=cupy,
        address=lambda array: int(array.data.ptr),
        # CuPy's stream and onnxruntime's do not wait for each other
        synchronize=lambda: cupy.cuda.get_current_stream().synchronize(),
    )


def _load_libraries() -> None:
    """Loads the libraries of onnxruntime's CUDA kernels. Raises DeviceError if one is missing."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the missing libraries
        onnxruntime.preload_dlls()
    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_cuda.so"))
    except OSError as error:
        if "cannot open shared object file" in str(error):  # not a symbol that onnxruntime provides
            raise DeviceError(
                f"onnxruntime cannot load CUDA's libraries ({error}); install CUDA 13 and cuDNN 9, "
                "or the packages onnxruntime-gpu[cuda,cudnn]"
            ) from error
