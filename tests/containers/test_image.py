"""The images that serve, in a container with as little as can be."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.engine import docker, inspect, logs, wait_until_healthy

SHELLS = ("sh", "bash", "dash")
TEXT = "Omar packed 48 rolls into 6 bags. How many are in each?"
ASK = f"""
import json, sys, urllib.request
body = json.dumps({{"inputs": "{TEXT}", "explain": sys.argv[1] == "True"}})
headers = {{"content-type": "application/json"}}
request = urllib.request.Request("http://127.0.0.1:8000/predict", body.encode(), headers)
print(urllib.request.urlopen(request).read().decode())
"""


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def image(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_image"))


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[str]:
    """Neither a network, nor a file system to write to, nor a capability, nor a shell."""
    no_shell = [f"--volume=/dev/null:/bin/{shell}:ro" for shell in SHELLS]
    hardened = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    container = docker("run", "--detach", "--network=none", *hardened, *no_shell, image)
    try:
        yield container
    finally:
        docker("rm", "--force", container)


def test_its_health_check_says_healthy(container: str) -> None:
    wait_until_healthy(container)


def test_it_runs_as_nobody_in_particular(container: str) -> None:
    status = dict(
        line.split(":\t")
        for line in docker("exec", container, "cat", "/proc/1/status").splitlines()
    )
    assert status["Uid"] == "10001\t10001\t10001\t10001"
    assert status["Gid"] == "10001\t10001\t10001\t10001"
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"


@pytest.mark.parametrize("explain", [False, True])
def test_it_predicts(container: str, explain: bool) -> None:
    wait_until_healthy(container)
    answer = json.loads(docker("exec", container, "python", "-c", ASK, str(explain)))
    assert answer["answer"] == 8.0
    assert ("rationale" in answer) == explain


def test_there_is_no_torch_and_no_installer(container: str) -> None:
    for module in ("torch", "transformers", "pip", "setuptools"):
        with pytest.raises(AssertionError, match=f"No module named '{module}'"):
            docker("exec", container, "python", "-c", f"import {module}")


def test_it_says_what_it_is(image: str) -> None:
    labels = inspect(image)["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"].startswith("Duet")
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"]


def test_the_first_process_heeds_sigterm(container: str) -> None:
    wait_until_healthy(container)
    docker("kill", f"--signal={signal.SIGTERM.name}", container)
    assert docker("wait", container) == "0"
    assert "Traceback" not in logs(container)


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_what_is_missing(gpu_image: str) -> None:
    command = ["run", "--rm", "--read-only", "--env=DUET_DEVICE=cuda", gpu_image]
    with pytest.raises(AssertionError, match=r": duet: no CUDA GPU can be used \(.*\n?$"):
        docker(*command)
