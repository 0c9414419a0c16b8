"""Gives every request an id, logs it, and counts it in the metrics."""

import logging
import re
import time
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import InternalError
from service.logs import request_id
from service.metrics import Metrics

REQUEST_ID: Final = "x-request-id"
ACCEPTED_ID = re.compile(r"[!-~]{1,128}")  # printable, and short
CLIENT_CLOSED_REQUEST: Final = 499  # nginx's status, only for the log: the client has left
STAGES = ("tokenization", "queue", "inference")
PROBES: Final = {  # paths that load balancers and monitors ask all day
    *("/livez", "/readyz", "/health", "/metrics"),
    *("/v2/health/live", "/v2/health/ready"),
}

logger = logging.getLogger(__name__)


class Access:
    """ASGI middleware: gives each request an id, and logs its outcome.

    The answer has the id in its header x-request-id. A request may bring an id in that header. The
    log has nothing of the body or the query. Successful probes are logged as debug.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, method = time.perf_counter(), scope["method"]
        given = Headers(scope=scope).get(REQUEST_ID, "")
        id_ = given if ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
        request_id.set(id_)
        state = scope.setdefault("state", {})
        status = CLIENT_CLOSED_REQUEST
        answer = Headers()

        async def send_with_id(message: Message) -> None:
            nonlocal status, answer
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = id_
                answer = Headers(scope=message)
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except Exception:
            status, state["error_type"] = 500, InternalError.error_type
            raise
        finally:
            seconds = time.perf_counter() - started
            route, error_type = _route(scope), state.get("error_type")
            self.metrics.request(method, route, status, error_type, seconds)
            facts = {
                "method": method,
                "route": route,
                "path": scope.get("raw_path", b"").decode("ascii", "backslashreplace"),
                "status": status,
                "error_type": error_type,
                "total_ms": round(seconds * 1000, 2),
            } | {
                f"{stage}_ms": float(answer[f"x-{stage}-time"])
                for stage in STAGES
                if f"x-{stage}-time" in answer
            }
            message = "%(method)s %(path)s %(status)d in %(total_ms).2f ms"
            level = logging.DEBUG if route in PROBES and status == 200 else logging.INFO
            logger.log(level, message, facts, extra=facts)


def _route(scope: Scope) -> str:
    """The template of the path, as /models/{name}; `other` if no route matches."""
    path: str = getattr(scope.get("route"), "path", "") or "other"
    return path
