"""API keys: check who may use the service, and limit the open requests of each key."""

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
    """Keys, and the number of open requests of each key. For one event loop."""

    def __init__(self, keys: Iterable[SecretStr], max_requests: int | None = None) -> None:
        self._digests = [_digest(key.get_secret_value()) for key in keys]
        self.max_requests = max_requests
        self._requests: Counter[bytes] = Counter()

    async def require(self, bearer: Bearer = None, header: Header = None) -> AsyncIterator[None]:
        """Requires a key in `Authorization: Bearer` or `X-API-Key`. A dependency for routes.

        Raises Unauthenticated, Forbidden, or Overloaded if the key has too many open requests.
        """
        if not self._digests:
            raise Forbidden("this service has no admin keys; set some with DUET_ADMIN_KEYS")
        given = header if bearer is None else bearer.credentials
        if not given:
            raise Unauthenticated("a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")
        key = self._find(given)
        if key is None:
            raise Forbidden("this service does not know the key, or the key may not do this")
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
        """The digest of the given key, or None. Compares with all keys, always in the same time."""
        digest, found = _digest(given), None
        for known in self._digests:
            if hmac.compare_digest(known, digest):
                found = known
        return found


def guarded(ring: KeyRing, error: type[BaseModel] = ErrorBody) -> dict[str, Any]:
    """The arguments of `include_router` that make its routes require a key of the ring."""
    answers = {401: "no key was given", 403: "the key is unknown, or it may not do this"}
    if ring.max_requests is not None:
        answers[429] = "too many requests are in work; try again after retry-after seconds"
    return {"dependencies": [Depends(ring.require)], "responses": responses(answers, error)}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
