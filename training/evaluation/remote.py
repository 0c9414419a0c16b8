"""A model of a running service, asked over HTTP."""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3
from pydantic import BaseModel, TypeAdapter, ValidationError

from tasks.task import Task
from training.evaluation.labelled import LabelledRow
from training.evaluation.model import Answer, ModelError, batched

BATCH = 8  # rows of a request, where the service takes so many
IN_FLIGHT = 6  # requests: so that a service of 32 rows always has some more waiting
CONNECT = 10  # seconds
SLACK = 30  # seconds beyond those after which the service itself gives up
# What passes: too much in work, not ready, no answer in time. The service says when to come again.
RETRY = urllib3.Retry(
    total=None,
    connect=2,
    read=2,
    other=0,
    status=20,
    status_forcelist=(429, 503, 504),
    allowed_methods=None,  # asking twice does no harm
    backoff_factor=0.5,
    backoff_max=30,
    retry_after_max=300,
    raise_on_status=False,
)

T = TypeVar("T")


class _Info(BaseModel):
    default_model: str
    max_client_batch: int
    timeout: float  # seconds


class _Score(BaseModel):
    label: str
    score: float


class _Usage(BaseModel):
    truncated: bool


class _Said(BaseModel):
    label: str
    confidence: float
    scores: list[_Score]
    rationale: str
    usage: _Usage


class _Described(BaseModel):
    name: str
    version: str
    checksum: str  # of the bundle's manifest, and so of every file of it
    task: dict[str, Any]


_ANSWERS = TypeAdapter(list[_Said])


@dataclass(frozen=True)
class _Door:
    """A service's address, and how it is asked. Threads may share it."""

    url: str
    http: urllib3.PoolManager

    def get(self, path: str) -> bytes:
        return self.request("GET", path, CONNECT + SLACK)

    def request(self, method: str, path: str, timeout: float, body: Any = None) -> bytes:
        """The body of a success. Raises ModelError, with what the service says."""
        address = f"{self.url}{path}"
        try:
            response = self.http.request(
                method,
                address,
                json=body,
                timeout=urllib3.Timeout(connect=CONNECT, read=timeout),
                retries=RETRY,
            )
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise ModelError(f"{address}: cannot be reached ({_reason(error)})") from error
        if response.status == 200:
            return response.data
        try:
            said = json.loads(response.data)["error"]
        except (ValueError, TypeError, KeyError):  # a proxy, or no Duet
            said = f"HTTP status {response.status}"
        hint = {
            401: "; set DUET_API_KEY to one of the service's keys",
            403: "; DUET_API_KEY must be one of the service's keys",
        }.get(response.status, "")
        raise ModelError(f"{address}: {said}{hint}")

    def read(self, path: str, kind: type[T]) -> T:
        try:
            return TypeAdapter(kind).validate_json(self.get(path))
        except ValidationError as error:
            raise ModelError(
                f"{self.url}{path}: not the answer of a Duet service; expected its address, such "
                "as http://127.0.0.1:8000"
            ) from error


@dataclass(frozen=True)
class RemoteModel:
    """A model of a service. Its answers must come from the same one until the end."""

    door: _Door
    task: Task
    identity: dict[str, str]
    together: int
    timeout: float  # seconds

    @classmethod
    def connect(cls, url: str, name: str | None = None, key: str | None = None) -> "RemoteModel":
        """The model of that name, or the service's default one. Raises ModelError."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        door = _Door(url.rstrip("/"), urllib3.PoolManager(maxsize=IN_FLIGHT, headers=headers))
        info = door.read("/info", _Info)
        described = door.read(f"/models/{name or info.default_model}", _Described)
        try:
            told = described.task  # by an older service less
            facts = {key: told[key] for key in Task.model_fields if key in told}
            task = Task.model_validate(facts)
        except (KeyError, ValidationError) as error:
            raise ModelError(
                f"{url}: its models have no task that can be read ({error})"
            ) from error
        return cls(
            door,
            task,
            {"kind": "service", **described.model_dump(exclude={"task"})},
            min(BATCH, info.max_client_batch),
            info.timeout + SLACK,
        )

    def answers(self, rows: Iterable[LabelledRow]) -> Iterator[Answer]:
        waiting: deque[Future[list[Answer]]] = deque()
        pool = ThreadPoolExecutor(IN_FLIGHT)
        try:
            for some in batched(rows, self.together):
                waiting.append(pool.submit(self._ask, some))
                if len(waiting) > IN_FLIGHT:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _ask(self, rows: list[LabelledRow]) -> list[Answer]:
        body = {
            "inputs": [row.input for row in rows],
            "model": self.identity["name"],
            "explain": True,
            "truncate": True,
        }
        try:
            said = _ANSWERS.validate_json(self.door.request("POST", "/predict", self.timeout, body))
        except ModelError as error:
            raise ModelError(_with_places(str(error), rows)) from error
        except ValidationError as error:
            raise ModelError(
                f"{self.door.url}/predict: not the answer of a Duet service"
            ) from error
        if len(said) != len(rows):
            raise ModelError(f"{self.door.url}/predict: {len(said)} answers to {len(rows)} inputs")
        self._require_same_bundle()
        return [self._answer(one, row) for one, row in zip(said, rows, strict=True)]

    def _require_same_bundle(self) -> None:
        """Raises ModelError where it was replaced meanwhile, perhaps under the same version."""
        name = self.identity["name"]
        now = self.door.read(f"/models/{name}", _Described)
        if now.checksum != self.identity["checksum"]:
            raise ModelError(
                f"{self.door.url}: {name} was replaced meanwhile: {_bundle(**self.identity)} at "
                f"the beginning, {_bundle(now.version, now.checksum)} now"
            )

    def _answer(self, said: _Said, row: LabelledRow) -> Answer:
        labels = self.task.labels_of(row.input)
        probabilities = None
        if labels is not None:
            scores = {score.label: score.score for score in said.scores}
            probabilities = {label: scores[label] for label in labels}  # in their own order
        return Answer(
            said.label, said.confidence, probabilities, said.rationale, said.usage.truncated
        )


def _bundle(version: str, checksum: str, **_: str) -> str:
    return f"version {version} ({checksum[:12]})"


def _with_places(message: str, rows: list[LabelledRow]) -> str:
    """A service names an input by its place in the request."""
    return re.sub(r"inputs\[(\d+)\]", lambda found: rows[int(found[1])].place, message)


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    return " ".join(str(cause).split())
