"""A model of a running service, over HTTP."""

import re
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import TypeAdapter, ValidationError

from duet.client import Answer, Client, DuetError
from tasks.task import Task, TrainedTask
from training.evaluation.labelled import LabelledRow
from training.evaluation.model import ModelError, batched
from training.evaluation.record import Record

BATCH = 8  # rows of a request, if the service accepts so many
IN_FLIGHT = 6  # requests: a service that answers 32 rows at once always has some more waiting
START = 40  # seconds that a service has to say what it serves
SLACK = 30  # seconds that the client waits beyond the service's own deadline
RETRIES = 20  # of a request while the service is busy
HINTS = {
    401: "; set DUET_API_KEY to one of the service's keys",
    403: "; DUET_API_KEY must be one of the service's keys",
}  # by HTTP status
_TASK: TypeAdapter[Task] = TypeAdapter(TrainedTask)


@dataclass(frozen=True)
class RemoteModel:
    """A model of a service. All its answers must come from the same bundle. Close it."""

    url: str
    client: Client
    task: Task
    identity: dict[str, str]
    together: int
    explains: bool

    @classmethod
    def connect(
        cls,
        url: str,
        name: str | None = None,
        key: str | None = None,
        timeout: float | None = START,
    ) -> "RemoteModel":
        """The model of that name, or the service's default one.

        `timeout` is how many seconds the service has to say what it serves; None: no limit.
        Raises ModelError.
        """
        url = url.rstrip("/")
        with (
            _told(f"{url}/info"),
            Client(url, key=key, timeout=timeout, retries=RETRIES) as client,
        ):
            info = client.info()
            name = name or info.default_model
            with _told(f"{url}/models/{name}"):
                model = client.model(name)
        return cls(
            url=url,
            task=_task(url, model.task),
            identity={
                "kind": "service",
                **model.model_dump(include={"name", "version", "checksum"}),
            },
            together=min(BATCH, info.max_client_batch),
            explains=model.explains,
            client=Client(url, key=key, timeout=info.timeout + SLACK, retries=RETRIES),
        )

    def close(self) -> None:
        self.client.close()

    def answers(self, rows: Iterable[LabelledRow]) -> Iterator[Record]:
        waiting: deque[Future[list[Record]]] = deque()
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

    def _ask(self, rows: list[LabelledRow]) -> list[Record]:
        with _told(f"{self.url}/predict", rows):
            answers = self.client.predict_batch(
                [row.input for row in rows],
                model=self.identity["name"],
                explain=self.explains,
                truncate=True,
            )
        if len(answers) != len(rows):
            raise ModelError(f"{self.url}/predict: {len(answers)} answers to {len(rows)} inputs")
        self._require_same_bundle()
        return [self._record(row, answer) for row, answer in zip(rows, answers, strict=True)]

    def _require_same_bundle(self) -> None:
        """Raises ModelError where the bundle was replaced, even under the same version."""
        name = self.identity["name"]
        with _told(f"{self.url}/models/{name}"):
            now = self.client.model(name)
        if now.checksum != self.identity["checksum"]:
            raise ModelError(
                f"{self.url}: {name} was replaced meanwhile: {_bundle(**self.identity)} at "
                f"the beginning, {_bundle(now.version, now.checksum)} now"
            )

    def _record(self, row: LabelledRow, answer: Answer) -> Record:
        labels = self.task.labels_of(row.input)
        scores = {score.label: score.score for score in answer.scores}
        explained = answer.rationale is not None
        if explained != self.explains or not scores.keys() >= {*(labels or ())}:
            raise ModelError(f"{self.url}/predict: not the answer of a Duet service")
        return Record.of(
            self.task,
            row,
            answer.label,
            answer.confidence,
            # in the labels' own order
            None if labels is None else {label: scores[label] for label in labels},
            answer.rationale,
            answer.usage.truncated,
        )


@contextmanager
def _told(address: str, rows: list[LabelledRow] | None = None) -> Iterator[None]:
    """Turns the client's errors into ModelError, with the address and the rows' places."""
    try:
        yield
    except DuetError as error:
        hint = HINTS.get(error.status or 0, "")
        if error.error_type == "not_duet" and rows is None:
            hint = "; expected its address, such as http://127.0.0.1:8000"
        raise ModelError(f"{address}: {_with_places(str(error), rows or [])}{hint}") from error
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{address}: cannot be reached ({reason})") from error


def _task(url: str, told: dict[str, Any]) -> Task:
    # a service of another version may have fewer fields, or more
    facts = {key: told[key] for key in Task.model_fields if key in told}
    try:
        return _TASK.validate_python(facts)
    except ValidationError as error:
        raise ModelError(f"{url}: its models have no task that can be read ({error})") from error


def _bundle(version: str, checksum: str, **_: str) -> str:
    return f"version {version} ({checksum[:12]})"


def _with_places(message: str, rows: list[LabelledRow]) -> str:
    """The message with a row's place in its file, where the service names one in the request."""

    def place(found: re.Match[str]) -> str:
        number = int(found[1])
        return rows[number].place if number < len(rows) else found[0]

    return re.sub(r"inputs\[(\d+)\]", place, message)
