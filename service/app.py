"""The application: models, settings and routes put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from service import __version__, errors
from service.body_limit import BodyLimit
from service.registry import Registry
from service.routes import health, models, page, predict
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
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    errors.install_handlers(app)
    for module in (predict, models, health, page):
        app.include_router(module.router)
    app.mount("/web", page.web)
    return app
