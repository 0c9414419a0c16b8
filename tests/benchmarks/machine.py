"""The machine and the versions that the numbers were measured with."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = (
    "ctranslate2",
    "litserve",
    "numpy",
    "onnxruntime",
    "optimum-onnx",
    "torch",
    "transformers",
)


def processor() -> str:
    """The processor's name, its cores, its relevant instructions, and the memory."""
    facts: dict[str, str] = {}
    for line in _lines("/proc/cpuinfo"):
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags", "").split()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
    name = facts.get("model name", platform.processor() or platform.machine())
    cores = len(psutil.Process().cpu_affinity() or [])
    memory = psutil.virtual_memory().total / 2**30
    known = " ".join(flag for flag in wanted if flag in flags)
    return f"{name}, {cores} cores ({known}), {memory:.0f} GB"


def versions() -> str:
    return ", ".join([f"Python {platform.python_version()}", *_installed(PACKAGES)])


def _installed(packages: Iterable[str]) -> Iterable[str]:
    for package in packages:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            continue


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []
