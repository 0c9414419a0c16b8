"""Whether the service lives, and whether it can answer."""

from fastapi import APIRouter

from service.errors import EngineUnavailable, responses
from service.routes import Models
from service.schemas import Health

router = APIRouter(tags=["health"], responses=responses({503: "an engine's thread has died"}))


@router.get("/livez", summary="Restart the service where this fails")
@router.get("/readyz", summary="Send requests where this succeeds")
@router.get("/health", summary="The same as /readyz")
async def health(models: Models) -> Health:
    """Every model is loaded, and its engine runs."""
    for engine in models:
        if not engine.alive:
            raise EngineUnavailable(f"the engine of {engine.manifest.name} has died")
    return Health()
