"""A bundle, asked of the service that serves it: started for the purpose, and stopped after."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from training.evaluation.model import ModelError
from training.evaluation.remote import RemoteModel

TIMEOUT = 3600  # seconds of a request: nobody else waits, and a slow machine is no error
STOP = 10  # seconds to stop in
KEPT_SETTINGS = ("DUET_DEVICE", "DUET_THREADS")  # those that change no answer's meaning
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


@contextmanager
def served(bundle: Path, log: Path) -> Iterator[RemoteModel]:
    """The model of a bundle, while its service runs, on a port of this machine that was free.

    What the service logs is in `log`. Raises ModelError where it does not start.
    """
    command = [sys.executable, "-m", "service", "--models", str(bundle)]
    command += ["--host", "127.0.0.1", "--port", "0", "--timeout", str(TIMEOUT)]
    libc = ctypes.CDLL(None)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            # not even SIGKILL to us may leave it behind
            preexec_fn=lambda: libc.prctl(DIE_WITH_PARENT, signal.SIGTERM),
        )
    try:
        model = RemoteModel.connect(_address(process, log, bundle))
        yield replace(model, identity=model.identity | {"kind": "bundle"})
    finally:
        process.terminate()
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DUET_") or name in KEPT_SETTINGS
    }


def _address(process: subprocess.Popen[bytes], log: Path, bundle: Path) -> str:
    """Waits until the service says where it is."""
    while True:
        over = process.poll() is not None
        text = log.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"Docs: (\S+)/docs\n", text):
            return found[1]
        if over:
            last = text.strip().rpartition("\n")[2].removeprefix("duet: ")
            raise ModelError(f"{bundle}: cannot be served: {last or 'it said nothing'}")
        time.sleep(0.05)
