"""Loads, replaces and unloads models while the service runs."""

import asyncio
from pathlib import Path

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from service.errors import responses
from service.routes import Models
from service.routes.models import describe
from service.schemas import ModelInfo

NO_MODEL = {404: "no model has this name"}

router = APIRouter(prefix="/admin/models", tags=["admin"])


class LoadBody(BaseModel):
    """Which bundle to load."""

    model_config = ConfigDict(extra="forbid")

    folder: Path | None = Field(
        None,
        description="the bundle's folder, in the service's model folders; without it, the folder "
        "that the model came from last",
    )


class ModelSource(BaseModel):
    """A model that is loaded, or can be loaded, and where it comes from."""

    name: str
    folder: Path = Field(description="the bundle's folder, on the service's machine")
    version: str | None = Field(description="version of the loaded bundle; null if none is loaded")
    checksum: str | None = Field(
        description="checksum of the loaded bundle (see /models); null if none is loaded"
    )


class Unloaded(BaseModel):
    """A model that is no longer served and no longer in memory."""

    name: str
    version: str


@router.get("", operation_id="list_sources")
async def list_sources(models: Models) -> list[ModelSource]:
    """The models, loaded or unloaded, then the new bundles in the service's model folders."""
    found = []
    for name, folder, served in await asyncio.to_thread(models.sources):
        manifest = served.engine.manifest if served else None
        found.append(
            ModelSource(
                name=name,
                folder=folder,
                version=manifest and manifest.version,
                checksum=manifest and manifest.checksum,
            )
        )
    return found


@router.post(
    "/{name}/load",
    operation_id="load_model",
    responses=responses(
        NO_MODEL
        | {
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


@router.post("/{name}/unload", operation_id="unload_model", responses=responses(NO_MODEL))
async def unload(name: str, models: Models) -> Unloaded:
    """Refuses new requests for a model, and answers when its open requests are finished.

    The model's memory is free then. The model can be loaded again.
    """
    version = models.get(name).manifest.version
    await models.unload_model(name)
    return Unloaded(name=name, version=version)
