"""The application: models, settings and routes put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline

from service import __version__, errors
from service.access import Access
from service.body_limits import BodyLimits
from service.head import Head
from service.registry import Registry
from service.routes import health, models, predict
from service.settings import Settings


def create_app(settings: Settings, registry: Registry) -> FastAPI:
    """Serves the models of `registry`, and closes them when it shuts down."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        registry.close()

    app = FastAPIOffline(  # the page at /docs asks nothing of other hosts
        title="Duet",
        description="Small reasoning models that predict a label and explain it.",
        version=__version__,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.settings = settings
    app.state.models = registry
    app.add_middleware(
        BodyLimits, max_bytes=settings.max_body_bytes, max_seconds=settings.body_timeout
    )
    app.add_middleware(Head)
    app.add_middleware(Access)
    errors.install_handlers(app)
    for module in (predict, models, health):
        app.include_router(module.router)

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> RedirectResponse:
        return RedirectResponse(f"{request.scope['root_path']}/docs")

    return app
