"""The models that are served, and the limits of the service."""

from fastapi import APIRouter

from service import __version__
from service.engine.engine import Engine
from service.errors import responses
from service.registry import Registry
from service.routes import CurrentSettings, Models
from service.schemas import ModelInfo, ServiceInfo

router = APIRouter(tags=["models"])


@router.get("/models")
async def list_models(models: Models) -> list[ModelInfo]:
    """The loaded models, the default one first."""
    return [describe(engine, models) for engine in models]


@router.get("/models/{name}", responses=responses({404: "no model has this name"}))
async def show_model(name: str, models: Models) -> ModelInfo:
    return describe(await models.require(name), models)


def describe(engine: Engine, models: Registry) -> ModelInfo:
    default = engine.manifest.name == models.default_name
    return ModelInfo.of(engine.bundle, default=default)


@router.get("/info")
async def info(models: Models, settings: CurrentSettings) -> ServiceInfo:
    """The service's version, its models and its limits."""
    return ServiceInfo(
        version=__version__,
        default_model=models.default_name,
        models=[engine.manifest.name for engine in models],
        max_client_batch=settings.max_client_batch,
        max_body_bytes=settings.max_body_bytes,
        max_rows=settings.max_rows,
        max_queue=settings.max_queue,
        timeout=settings.timeout,
        threads=settings.threads,
    )
