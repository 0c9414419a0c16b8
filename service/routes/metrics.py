"""GET /metrics."""

from typing import Annotated

from fastapi import APIRouter, Header, Response
from prometheus_client.exposition import choose_encoder

from service.routes import CurrentMetrics

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(
    current: CurrentMetrics, accept: Annotated[str, Header(include_in_schema=False)] = ""
) -> Response:
    """The metrics for Prometheus: in its text format, or as OpenMetrics if that is accepted."""
    encode, content_type = choose_encoder(accept)
    return Response(encode(current.collectors), headers={"content-type": content_type})
