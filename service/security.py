"""Keys: who may use the service."""

import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from pydantic import BaseModel, SecretStr

from service.errors import ErrorBody, Forbidden, Overloaded, Unauthenticated, responses

RETRY_SECONDS = 1  # a request takes less

Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Security(HTTPBearer(auto_error=False, description="Authorization: Bearer KEY")),
]
Header = Annotated[
    str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False, description="the same"))
]


class KeyRing:
    """Keys, and how many requests each of them has in work. For one event loop."""

    def __init__(self, keys: Iterable[SecretStr], max_requests: int | None = None) -> None:
        self._digests = [_digest(key.get_secret_value()) for key in keys]
        self.max_requests = max_requests
        self._requests: Counter[bytes] = Counter()

    async def require(self, bearer: Bearer = None, header: Header = None) -> AsyncIterator[None]:
        """A route's dependency: a key in `Authorization: Bearer` or `X-API-Key`.

        Raises Unauthenticated, Forbidden, or Overloaded where the key has too much in work.
        """
        if not self._digests:
            raise Forbidden("nobody may, for there are no admin keys: DUET_ADMIN_KEYS sets some")
        given = header if bearer is None else bearer.credentials
        if not given:
            raise Unauthenticated("a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")
        key = self._find(given)
        if key is None:
            raise Forbidden("the key is none of this service's, or not one for this")
        if self.max_requests is not None and self._requests[key] >= self.max_requests:
            raise Overloaded(
                f"{self.max_requests} requests of this key are in work already; send the request "
                "again later",
                RETRY_SECONDS,
            )
        self._requests[key] += 1
        try:
            yield
        finally:
            self._requests[key] -= 1

    def _find(self, given: str) -> bytes | None:
        """Takes the same time whatever is given: all keys are compared, in all their bytes."""
        digest, found = _digest(given), None
        for known in self._digests:
            if hmac.compare_digest(known, digest):
                found = known
        return found


def guarded(ring: KeyRing, error: type[BaseModel] = ErrorBody) -> dict[str, Any]:
    """What `include_router` needs so that its routes take a key of the ring."""
    answers = {401: "no key was given", 403: "the key is none of this service's, or not for this"}
    if ring.max_requests is not None:
        answers[429] = "too much is in work already; retry-after says for how many seconds"
    return {"dependencies": [Depends(ring.require)], "responses": responses(answers, error)}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
