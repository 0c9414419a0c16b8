"""Loads, replaces and unloads models while the service runs."""

from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from service.errors import responses
from service.routes import Models
from service.routes.models import describe
from service.schemas import ModelInfo

router = APIRouter(
    prefix="/admin/models/{name}",
    tags=["admin"],
    responses=responses({404: "no model has this name"}),
)


class LoadBody(BaseModel):
    """Which bundle to load."""

    model_config = ConfigDict(extra="forbid")

    folder: Path | None = Field(
        None,
        description="the bundle's folder, in the service's model folders; without it, the folder "
        "that the model came from last",
    )


class Unloaded(BaseModel):
    """A model that is no longer served and no longer in memory."""

    name: str
    version: str


@router.post(
    "/load",
    operation_id="load_model",
    responses=responses(
        {
            400: "the body is not JSON",
            408: "the body did not arrive in time",
            413: "the body is too large",
            422: "the bundle is refused; the answer says why; nothing has changed",
        }
    ),
)
async def load(name: str, models: Models, body: LoadBody | None = None) -> ModelInfo:
    """Reads a bundle from its folder, and serves it in place of the bundle with the same name.

    First verifies its files and reproduces its golden examples. Open requests finish on the old
    bundle. When the answer comes, the old bundle's memory is free.
    """
    engine = await models.load_model(name, body.folder if body else None)
    return describe(engine, models)


@router.post("/unload", operation_id="unload_model")
async def unload(name: str, models: Models) -> Unloaded:
    """Refuses new requests for a model, and answers when its open requests are finished.

    The model's memory is free then. The model can be loaded again.
    """
    version = models.get(name).manifest.version
    await models.unload_model(name)
    return Unloaded(name=name, version=version)
