"""Health checks: whether the service is alive, and whether it can answer."""

from fastapi import APIRouter

from service.errors import EngineUnavailable, responses
from service.routes import Models
from service.schemas import Health

router = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="Restart the service if this fails",
    responses=responses({503: "an engine's thread has died, or is stuck"}),
)
async def live(models: Models) -> Health:
    """Succeeds if every engine's thread runs and is not stuck, even under overload."""
    for engine in models:
        if not engine.alive:
            raise EngineUnavailable(f"the engine of {engine.manifest.name} has died or is stuck")
    return Health()


@router.get(
    "/readyz",
    summary="Send requests if this succeeds",
    responses=responses({503: "an engine cannot answer, or its queue is full"}),
)
@router.get(
    "/health",
    summary="The same as /readyz",
    operation_id="health",
    responses=responses({503: "as /readyz"}),
)
async def ready(models: Models) -> Health:
    """Succeeds if a model is loaded, and every model answers and has room in its queue."""
    await live(models)
    if not list(models):
        raise EngineUnavailable("no model is loaded; POST /admin/models/NAME/load loads one")
    for engine, admission in models.served():
        if engine.broken:
            raise EngineUnavailable(f"the model of {engine.manifest.name} fails again and again")
        if admission.full:
            raise EngineUnavailable(f"the queue of {engine.manifest.name} is full")
    return Health()
