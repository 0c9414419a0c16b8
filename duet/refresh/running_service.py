"""A running service, asked about its models and told to load one. It needs an admin key."""

import re
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, TypeAdapter, ValidationError

from duet.client.protocol import HERE
from duet.refresh.errors import RefreshError

QUESTION_SECONDS: Final = 5  # for an answer that takes no work
LOAD_SECONDS: Final = 600  # to verify a bundle and load it, and to finish requests on the old one
KEY: Final = re.compile(r"[!-~]+")
HINTS: Final = {
    401: "; set DUET_ADMIN_KEY to one of the service's DUET_ADMIN_KEYS",
    403: "; DUET_ADMIN_KEY must be one of the service's DUET_ADMIN_KEYS",
}  # by HTTP status
T = TypeVar("T")


class RefusedError(RefreshError):
    """The service answered with an error."""


class UnreachableError(RefreshError):
    """The service did not answer, so it may or may not have done what it was asked to do."""


class Source(BaseModel):
    """A model that the service has loaded or can load. `folder` is on the service's machine.

    `version` and `checksum` are of the loaded bundle, None if the model is not loaded.
    """

    name: str
    folder: Path
    version: str | None
    checksum: str | None


class Loaded(BaseModel):
    """A model that the service has loaded just now."""

    version: str
    checksum: str


_SOURCES: Final = TypeAdapter(list[Source])
_LOADED: Final = TypeAdapter(Loaded)


class RunningService:
    """The service at `url`. All methods raise RefusedError and UnreachableError. Close it."""

    def __init__(self, url: str, key: str) -> None:
        """Raises RefreshError if the key or the address is none."""
        if not KEY.fullmatch(key):
            raise RefreshError(
                "DUET_ADMIN_KEY: expected one of the service's DUET_ADMIN_KEYS, got "
                f"{'nothing' if not key else 'a text that is no key'}; set it, and start the "
                "service with DUET_ADMIN_KEYS"
            )
        self.url = url.rstrip("/")
        try:
            address = httpx2.URL(self.url)
        except httpx2.InvalidURL:
            address = httpx2.URL("")
        if address.scheme not in ("http", "https") or not address.host:
            raise RefreshError(
                f"--url: expected the service's address, such as http://127.0.0.1:8000, got {url!r}"
            )
        self._http = httpx2.Client(
            headers={"authorization": f"Bearer {key}"},
            mounts={f"all://{host}": None for host in HERE},
        )

    def sources(self) -> dict[str, Source]:
        """The models that the service has loaded or can load, by name."""
        sources = self._ask("GET", "", _SOURCES, QUESTION_SECONDS)
        return {source.name: source for source in sources}

    def load(self, name: str) -> Loaded:
        """Makes the service load the model's bundle from the folder that the service knows."""
        return self._ask("POST", f"/{quote(name, safe='')}/load", _LOADED, LOAD_SECONDS)

    def loaded(self, name: str) -> Source | None:
        """The model, if it is loaded."""
        source = self.sources().get(name)
        return source if source and source.checksum else None

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, answer: TypeAdapter[T], seconds: float) -> T:
        try:
            response = self._http.request(method, f"{self.url}/admin/models{path}", timeout=seconds)
        except httpx2.TimeoutException as error:
            raise UnreachableError(f"{self.url}: no answer in {seconds:.0f} seconds") from error
        except httpx2.TransportError as error:
            reason = " ".join(str(error).split())
            raise UnreachableError(
                f"{self.url}: no service can be reached ({reason}); start one, or name its address "
                "by URL=… (--url)"
            ) from error
        if not response.is_success:
            reason = _reason(response)
            hint = "" if "DUET_ADMIN_KEYS" in reason else HINTS.get(response.status_code, "")
            raise RefusedError(f"{self.url}: {reason}{hint}")
        try:
            return answer.validate_json(response.content)
        except ValidationError as error:
            raise RefusedError(f"{self.url}: not a Duet service; {_VERSION}") from error


_VERSION = "expected one of this version, with its admin routes"


def _reason(response: httpx2.Response) -> str:
    """The service's own sentence, or the status of something else."""
    try:
        body: Any = response.json()
        message = str(body["error"])
    except (ValueError, TypeError, KeyError):
        return f"HTTP status {response.status_code}, so not a Duet service; {_VERSION}"
    if response.status_code == 404 and "Not Found" in message:  # of a route
        return f"{message}; {_VERSION}"
    return message
