"""Whether the service lives, and whether it can answer."""

from fastapi import APIRouter

from service.errors import EngineUnavailable, responses
from service.routes import Models
from service.schemas import Health

router = APIRouter(tags=["health"], responses=responses({503: "an engine's thread has died"}))


@router.get("/livez")
async def live(models: Models) -> Health:
    """Restart the service where this fails."""
    for engine in models:
        if not engine.alive:
            raise EngineUnavailable(f"the engine of {engine.manifest.name} has died")
    return Health()


@router.get("/health")
@router.get("/readyz")
async def ready(models: Models) -> Health:
    """Send requests where this succeeds: every model is loaded, and its engine runs."""
    return await live(models)
