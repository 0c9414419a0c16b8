"""The requests that are sent to the service, and the answers that are right."""

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx

from tests.support.server_process import events

JSON = {"content-type": "application/json"}
MAX_BODY_BYTES = 200_000  # the limit of the servers under load
PREDICTIONS = {"label": 25, "explained": 25, "stream": 15, "list": 8, "infer": 8}  # weights
OTHERS = {"hurried": 4, "invalid": 10, "look": 5}
REFUSALS = {429: "overloaded", 504: "too late"}


class WrongAnswer(Exception):
    """An answer that breaks the contract, or differs from the one that the request gets alone."""


Check = Callable[[int, Mapping[str, str], bytes], str]  # the outcome of a request, by its answer


@dataclass(frozen=True)
class Case:
    """A request. `check` raises WrongAnswer."""

    kind: str
    path: str
    check: Check
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=lambda: JSON)

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


class Answers:
    """The answers that inputs got alone, one by one, by the weights that gave them.

    A version is the name of its weights, a hyphen and a number.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._alone: dict[tuple[str, str, str, bool], dict[str, Any]] = {}

    def learn(self, client: httpx.Client, model: str) -> None:
        for text in self.texts:
            for explain in (False, True):
                body = {"inputs": text, "model": model, "explain": explain}
                answer = client.post("/predict", json=body).raise_for_status().json()
                self._alone[model, _weights(answer["version"]), text, explain] = _settled(answer)

    def check(self, answer: dict[str, Any], model: str, text: str, explain: bool) -> None:
        right = self._alone.get((model, _weights(answer["version"]), text, explain))
        if _settled(answer) != right:
            raise WrongAnswer(f"{model}, {text!r}, explain={explain}: {answer}, not {right}")

    def check_some(
        self, given: Mapping[str, Any], version: str, model: str, text: str, explain: bool
    ) -> None:
        """Compares the parts of an answer that are given."""
        right = self._alone[model, _weights(version), text, explain]
        if given != {name: right.get(name) for name in given}:
            raise WrongAnswer(f"{model}, {text!r}, explain={explain}: {given}, not of {right}")


def _weights(version: str) -> str:
    return version.partition("-")[0]


def _settled(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an answer that neither neighbours nor a new version of the weights change."""
    steps = ("decoder_steps", "accepted_tokens")
    usage = {name: count for name, count in answer["usage"].items() if name not in steps}
    return {name: part for name, part in answer.items() if name != "version"} | {"usage": usage}


class Traffic:
    """Requests of all kinds, drawn by `rng`."""

    def __init__(self, answers: Answers, models: Sequence[str], rng: random.Random) -> None:
        self.answers = answers
        self.models = models
        self.rng = rng
        self._invalid = list(invalid_cases())

    def draw(self) -> Case:
        weights = PREDICTIONS | OTHERS
        (kind,) = self.rng.choices(list(weights), list(weights.values()))
        return getattr(self, kind)()

    def label(self) -> Case:
        return self._predict("label", explain=False)

    def explained(self) -> Case:
        return self._predict("explained", explain=True)

    def hurried(self) -> Case:
        """A request with a deadline that it may miss."""
        seconds = self.rng.choice([0.001, 0.01, 0.1])
        return self._predict("hurried", explain=True, headers={"x-request-timeout": str(seconds)})

    def stream(self) -> Case:
        model, text, explain = self._some()

        def check(status: int, headers: Mapping[str, str], content: bytes) -> str:
            if refusal := _refusal(status, headers, content):
                return refusal
            names, data = zip(*events(content.decode()), strict=True)
            if names[-1] == "error":
                return _refusal(*_broken_stream(data[-1]))
            if names != ("label", *["rationale"] * (len(names) - 2), "done"):
                raise WrongAnswer(f"a stream of {names}")
            self.answers.check(data[-1], model, text, explain)
            pieces = "".join(piece["text"] for piece in data[1:-1])
            whole = data[0] | {"rationale": pieces} if explain else data[0]
            self.answers.check_some(whole, data[-1]["version"], model, text, explain)
            return "answered"

        body = {"inputs": text, "model": model, "explain": explain, "stream": True}
        return Case("stream", "/predict", check, _json(body))

    def list(self, size: int | None = None, explain: bool | None = None) -> Case:
        model, _, some = self._some()
        explain = some if explain is None else explain
        texts = self.rng.choices(self.answers.texts, k=size or self.rng.randint(2, 8))

        def check(status: int, headers: Mapping[str, str], content: bytes) -> str:
            if refusal := _refusal(status, headers, content):
                return refusal
            for text, answer in zip(texts, json.loads(content), strict=True):
                self.answers.check(answer, model, text, explain)
            return "answered"

        body = {"inputs": [{"text": text} for text in texts], "model": model, "explain": explain}
        return Case("list", "/predict", check, _json(body))

    def infer(self) -> Case:
        """A request in the Open Inference Protocol."""
        model, _, explain = self._some()
        texts = self.rng.choices(self.answers.texts, k=self.rng.randint(1, 4))

        def check(status: int, headers: Mapping[str, str], content: bytes) -> str:
            if refusal := _refusal(status, headers, content):
                return refusal
            answer = json.loads(content)
            columns = {output["name"]: output["data"] for output in answer["outputs"]}
            columns = {
                name: columns[name] for name in ("label", "confidence", *["rationale"] * explain)
            }
            for text, *row in zip(texts, *columns.values(), strict=True):
                given = dict(zip(columns, row, strict=True))
                self.answers.check_some(given, answer["model_version"], model, text, explain)
            return "answered"

        tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
        body = {"inputs": [tensor], "parameters": {"explain": explain}}
        return Case("infer", f"/v2/models/{model}/infer", check, _json(body))

    def invalid(self) -> Case:
        return self.rng.choice(self._invalid)

    def look(self) -> Case:
        """A request that anyone may send at any time."""
        path = self.rng.choice(["/livez", "/models", "/info", "/metrics", "/", "/v2"])
        return Case("look", path, _expect(200, ""), headers={})

    def _predict(self, kind: str, explain: bool, headers: Mapping[str, str] | None = None) -> Case:
        model, text, _ = self._some()

        def check(status: int, headers: Mapping[str, str], content: bytes) -> str:
            if refusal := _refusal(status, headers, content):
                return refusal
            self.answers.check(json.loads(content), model, text, explain)
            return "answered"

        body = {"inputs": text, "model": model, "explain": explain}
        return Case(kind, "/predict", check, _json(body), JSON | (headers or {}))

    def _some(self) -> tuple[str, str, bool]:
        model, text = self.rng.choice(self.models), self.rng.choice(self.answers.texts)
        return model, text, self.rng.random() < 0.6


def invalid_cases() -> Iterator[Case]:
    """Invalid requests, each with the error that it must get. They need no state of the service."""
    for body, status, error_type in (
        (b'{"inputs": "a', 400, "invalid_json"),
        (b'{"inputs": " "}', 400, "empty_input"),
        (b'{"inputs": "a", "model": "nobody"}', 404, "model_not_found"),
        (b'{"inputs": 5}', 422, "validation"),
        (b'{"inputs": "a", "explian": true}', 422, "validation"),
        (_json({"inputs": "a " * 20_000}), 422, "too_many_tokens"),
        (_json({"inputs": ["a"] * 33}), 413, "too_many_inputs"),
        (_json({"inputs": "a" * MAX_BODY_BYTES}), 413, "body_too_large"),
        (_json({"inputs": "a" * 5 * MAX_BODY_BYTES}), 413, "body_too_large"),
    ):
        kind = "oversized" if error_type == "body_too_large" else "invalid"
        yield Case(kind, "/predict", _expect(status, error_type), body)
    yield Case("invalid", "/predict", _expect(415, "unsupported_media_type"), b"a", {})
    yield Case("invalid", "/v2/models/nobody/infer", _expect(400, ""), b"[")


def _expect(wanted: int, error_type: str) -> Check:
    def check(status: int, headers: Mapping[str, str], content: bytes) -> str:
        if wanted != 200 and status == 429:
            return _refusal(status, headers, content)
        if status != wanted or error_type.encode() not in content:
            raise WrongAnswer(f"{status}, not {wanted} {error_type}: {content[:300]!r}")
        return "answered" if status == 200 else "refused"

    return check


def _refusal(status: int, headers: Mapping[str, str], content: bytes) -> str:
    """The documented refusal that an answer is, or "" where it is none."""
    if status == 200:
        return ""
    if status not in REFUSALS or not json.loads(content)["error"]:
        raise WrongAnswer(f"{status}: {content[:300]!r}")
    if status == 429 and int(headers["retry-after"]) < 1:
        raise WrongAnswer(f"429 with retry-after {headers['retry-after']}")
    return REFUSALS[status]


def _broken_stream(error: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    status = {"deadline_exceeded": 504}.get(error["error_type"], 500)
    return status, {}, _json(error)


def _json(body: Any) -> bytes:
    return json.dumps(body).encode()
