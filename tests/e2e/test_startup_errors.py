"""A server that cannot start says why."""

import shutil
import socket
from pathlib import Path

import pytest

from export.bundle import DECODER, TOKENIZER
from tests.support.programs import run


def fails(*arguments: str, **settings: str) -> str:
    """Why a server does not start: it must say so in one line."""
    done = run("service", *arguments, **settings)
    assert done.returncode == 2
    assert done.stderr.startswith("duet: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_in_use(tiny_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        message = fails("--port", port, "--models", str(tiny_bundle))
    assert f"cannot listen on 127.0.0.1, port {port}" in message
    assert "--port" in message


def test_a_setting_that_is_wrong() -> None:
    assert "--port (DUET_PORT): expected a whole number" in fails(DUET_PORT="http")


def test_a_gpu_that_is_not_there() -> None:
    message = fails("--port", "0", "--device", "cuda")
    assert "the installed onnxruntime computes on the CPU alone; install onnxruntime-gpu" in message


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    assert f"{tmp_path}: not a bundle" in fails("--port", "0", "--models", str(tmp_path))


@pytest.mark.parametrize("name", [DECODER, TOKENIZER])
def test_a_bundle_that_was_changed(name: str, tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_bundle, folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    message = fails("--port", "0", "--models", str(folder))
    assert f"{folder / name}: its SHA-256 is not the manifest's" in message
