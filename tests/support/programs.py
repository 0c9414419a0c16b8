"""Duet's programs, each in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.server_process import ROOT, TIMEOUT, environment


def run(module: str, *arguments: object, **settings: str) -> subprocess.CompletedProcess[str]:
    """What becomes of `python -m MODULE`, which must end by itself."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@contextmanager
def started(module: str, *arguments: object, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m MODULE`, which is killed at the end where it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
