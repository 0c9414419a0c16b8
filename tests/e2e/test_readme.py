"""What the README shows is what a newcomer gets."""

import json
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from tests.support.server_process import ROOT, serve

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_request_has_the_answer_shown(tmp_path: Path) -> None:
    shell = re.search(r"```sh\n(curl .*?)```", README, re.DOTALL)
    shown = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert shell
    assert shown
    _, url, _, header, _, body = shlex.split(shell[1].replace("\\\n", " "))
    name, _, value = header.partition(": ")
    with serve(tmp_path / "log") as server:  # the embedded student
        path = urlsplit(url).path
        answer = httpx.post(server.url + path, headers={name: value}, content=body.encode()).json()
    expected = json.loads(shown[1])
    for numbers in (expected, expected["scores"][0]):
        for key in {"confidence", "score"} & numbers.keys():
            numbers[key] = pytest.approx(numbers[key], rel=1e-3)  # processors round differently
    assert answer == expected


def test_the_python_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code
    with serve(tmp_path / "log") as server:
        exec(code[1].replace("http://127.0.0.1:8000", server.url), {})
    answer, label, *_, steps = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\(.*\) 0\.\d+ .+", answer)
    assert re.fullmatch(r"\(.*\)", label)
    assert re.fullmatch(r"\d+ steps", steps)
