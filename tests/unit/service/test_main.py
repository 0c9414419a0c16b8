import json
import shlex
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from duet.client import Client
from export.bundle import Manifest
from service.__main__ import _curl, _is_loopback, _listen, _listener, _url
from service.settings import Settings, problem_of
from tasks.task import Task
from tests.support.server_process import ROOT, TIMEOUT, command, environment


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with (
        _listener(Settings(port=0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(SettingsError, match=f"cannot listen on {host}, port 0: .*--host"):
        _listen(host, 0)


def test_a_socket_that_is_handed_over(tiny_bundle: Path) -> None:
    """Its address is known before the process starts, and clients wait until it has loaded."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        process = subprocess.Popen(
            command("--models", str(tiny_bundle), "--port", "1", "--fd", str(listener.fileno())),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
        )
    try:
        with Client(url, timeout=TIMEOUT, retries=0) as client:
            assert client.info().default_model == "tiny"
            assert client.predict("Ann has 3 apples.").label
        process.terminate()
        printed, _ = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
        assert f"Docs: {url}/docs\n" in printed.decode()
    finally:
        process.kill()
        process.wait()


def test_a_file_descriptor_that_is_no_listening_socket() -> None:
    expected = r"cannot listen on --fd \(DUET_FD\) \d+: expected a TCP socket that listens"
    with tempfile.TemporaryFile() as file, pytest.raises(SettingsError, match=expected) as found:
        _listener(Settings(fd=file.fileno()))
    assert str(found.value).endswith(": Socket operation on non-socket")
    with pytest.raises(SettingsError, match=f"{expected}: Bad file descriptor"):
        _listener(Settings(fd=10_000))
    with socket.socket() as silent, pytest.raises(SettingsError, match=f"{expected}$"):
        _listener(Settings(fd=silent.fileno()))
    here, there = socket.socketpair()
    with here, there, pytest.raises(SettingsError, match=f"{expected}$"):
        _listener(Settings(fd=here.fileno()))


def test_the_check_names_the_file_descriptor(tiny_bundle: Path) -> None:
    done = subprocess.run(
        command("--models", str(tiny_bundle), "--check"),
        cwd=ROOT,
        env=environment(DUET_FD="3"),
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("Duet would serve on file descriptor 3:\n  tiny, version 1,")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("example.org", "http://example.org:80"),
    ],
)
def test_the_url_is_one_that_a_browser_here_can_open(host: str, url: str) -> None:
    assert _url(host, 80) == url


def manifest_of(task: Task, explains: bool = True) -> Manifest:
    return Manifest.model_construct(task=task, explains=explains)


@pytest.mark.parametrize(
    ("fields", "inputs"),
    [
        ({"text": "It's $5; isn't it?"}, "It's $5; isn't it?"),
        ({"premise": "a", "hypothesis": "b"}, {"premise": "a", "hypothesis": "b"}),
    ],
)
def test_the_command_holds_an_example(fields: dict[str, str], inputs: object) -> None:
    task = Task(name="task", fields=list(fields), template="", examples=[fields])
    *_, body = shlex.split(_curl("http://a", manifest_of(task)))
    assert json.loads(body) == {"inputs": inputs, "explain": True}


def test_the_command_does_not_ask_for_what_is_refused() -> None:
    task = Task(name="task", fields=["text"], template="")
    *_, body = shlex.split(_curl("http://a", manifest_of(task, explains=False)))
    assert json.loads(body) == {"inputs": "…"}


def test_the_command_tells_where_a_key_belongs() -> None:
    model = manifest_of(Task(name="task", fields=["text"], template=""))
    assert "x-api-key: KEY" in shlex.split(_curl("http://a", model, key=True))
    assert "KEY" not in _curl("http://a", model)


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False), ("::", False)],
)
def test_which_addresses_only_this_machine_reaches(address: str, loopback: bool) -> None:
    assert _is_loopback(address) == loopback


def test_a_key_that_is_wrong_is_not_shown() -> None:
    with pytest.raises(ValidationError) as wrong:
        Settings(api_keys="good,se cret")
    assert problem_of(wrong.value) == (
        "--api-keys (DUET_API_KEYS): a key may hold ASCII letters, digits and signs, and no spaces"
    )
