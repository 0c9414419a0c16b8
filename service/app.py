"""The application: puts models, settings, middleware and routes together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from service import __version__, errors, openapi
from service.metrics import Metrics
from service.middleware.access import REQUEST_ID, STAGES, Access
from service.middleware.body_limits import BodyLimits
from service.middleware.head_method import Head
from service.middleware.response_headers import ResponseHeaders
from service.middleware.shedding import Shedding
from service.oip import routes as oip
from service.registry import Registry
from service.routes import admin, health, metrics, models, page, predict
from service.security import KeyRing, guarded
from service.settings import Settings
from service.telemetry import telemetry

DOCS: Final = "/docs"


def create_app(settings: Settings, registry: Registry) -> FastAPI:
    """The application that serves the models of `registry`. It closes them when it shuts down."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        registry.close()

    facts: dict[str, Any] = {
        "title": "Duet",
        "description": "Small reasoning models that predict a label and explain it.",
        "version": __version__,
        "responses": errors.responses({500: "an error inside the service"}),
        "redoc_url": None,
        "generate_unique_id_function": lambda route: route.name,
        "lifespan": lifespan,
        "telemetry": telemetry(),
    }
    if settings.docs:  # a page that loads nothing from other hosts
        app = FastAPIOffline(docs_url=DOCS, **facts)
    else:
        app = FastAPI(docs_url=None, openapi_url=None, **facts)
    app.state.settings = settings
    app.state.models = registry
    app.state.metrics = Metrics(registry)
    errors.install_handlers(app)
    _add_middleware(app, settings)
    _add_routes(app, settings)
    openapi.describe(app)
    return app


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """Adds the middleware. The last one added sees a request first."""
    app.add_middleware(
        BodyLimits, max_bytes=settings.max_body_bytes, max_seconds=settings.body_timeout
    )
    predictions = [*predict.router.routes, *oip.router.routes]
    app.add_middleware(Shedding, models=app.state.models, routes=predictions)
    app.add_middleware(Head)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "x-api-key", REQUEST_ID, "x-request-timeout"],
            expose_headers=[
                *(REQUEST_ID, "retry-after"),
                *(f"x-{stage}-time" for stage in ("total", *STAGES)),
            ],
        )
    app.add_middleware(ResponseHeaders, docs_path=DOCS)
    app.add_middleware(Access, metrics=app.state.metrics)


def _add_routes(app: FastAPI, settings: Settings) -> None:
    users = KeyRing(settings.users, settings.max_requests_per_key)
    guard = guarded(users) if settings.users else {}
    for module in (predict, models):
        app.include_router(module.router, **guard)
    oip_guard = guarded(users, errors.InferenceErrorBody) if settings.users else {}
    app.include_router(oip.router, **oip_guard)
    if settings.metrics != "off":
        app.include_router(metrics.router, **(guard if settings.metrics == "key" else {}))
    app.include_router(admin.router, **guarded(KeyRing(settings.admin)))
    for router in (health.router, oip.health, page.router):
        app.include_router(router)
    app.mount("/web", page.web)
