"""What a refresh checks before it trains."""

from contextlib import suppress
from pathlib import Path

from duet.refresh.errors import RefreshError
from duet.refresh.running_service import RunningService, Source
from export.bundle import MANIFEST, BundleError, Manifest
from export.replacing import kept_beside, put_back
from export.verify import read, read_manifest
from training.config import DistillConfig, load_config
from training.data.row import DataError
from training.data.sources import columns_of
from training.evaluation.gate import SAME
from training.evaluation.labelled import from_file
from training.yaml_files import ConfigError


def read_bundle(folder: Path) -> Manifest:
    """The manifest of the bundle in use, whose files are verified. Raises RefreshError."""
    if not folder.exists():
        raise RefreshError(
            f"{folder}: there is no bundle yet, and so nothing to compare with; make the first one "
            f"by make distill and make export BUNDLE={folder}, and serve it"
        )
    try:
        return read(folder).manifest
    except (BundleError, OSError) as error:
        raise RefreshError(str(error)) from error


def check_data(data: str) -> None:
    """Checks that there is a file of rows to compare on. Raises RefreshError."""
    expected = "expected a file of labelled rows that no student was trained on"
    if not data:
        raise RefreshError(f"DATA=… (--data): {expected}")
    if not Path(data).is_file():
        raise RefreshError(f"{data}: no such file; DATA=… (--data): {expected}")


def check_rows(data: str, config: DistillConfig, manifest: Manifest) -> None:
    """Reads all rows to compare on, by the recipe's columns. Raises RefreshError."""
    try:
        from_file(Path(data), manifest.task, columns_of(config.data))
    except (DataError, OSError) as error:
        raise RefreshError(str(error)) from error


def check_recipe(
    recipe: Path, overrides: list[str], bundle: Path, manifest: Manifest
) -> DistillConfig:
    """The recipe, whose student can take the bundle's place. Raises RefreshError."""
    try:
        config = load_config(recipe, overrides)
    except (ConfigError, OSError) as error:
        raise RefreshError(str(error)) from error
    if config.name != manifest.name:
        raise RefreshError(
            f"{recipe}: its student is named {config.name}, but the bundle in {bundle} is named "
            f"{manifest.name}; choose another BUNDLE, or change the recipe's name"
        )
    for name in SAME:
        ours, theirs = getattr(config.task, name), getattr(manifest.task, name)
        if ours != theirs:
            raise RefreshError(
                f"{recipe}: its task is not that of the bundle in {bundle}, so the two cannot be "
                f"compared: task.{name} is {ours!r}, but {theirs!r} in the bundle"
            )
    return config


def check_served(service: RunningService, name: str, bundle: Path, manifest: Manifest) -> Source:
    """The model `name` of the service, which serves this bundle or can load it.

    Raises RefreshError.
    """
    sources = service.sources()
    source = sources.get(name)
    if source is None:
        known = ", ".join(sources) or "none"
        raise RefreshError(
            f"{service.url}: has no model named {name}, and no bundle of that name in its model "
            f"folders (it has {known}); start it with --models {bundle}, or give the name that it "
            "serves the bundle under by NAME=… (--name)"
        )
    if _is_elsewhere(source, bundle):
        raise RefreshError(
            f"{service.url}: has {name} from {source.folder}, not from {bundle}; give that folder "
            "by BUNDLE=… (--bundle)"
        )
    if source.checksum not in (None, manifest.checksum):
        raise RefreshError(
            f"{service.url}: serves version {source.version} of {name}, which is not the bundle in "
            f"{bundle} (version {manifest.version}); give the bundle that it serves by BUNDLE=… "
            f"(--bundle), or load this one first: {load_command(service.url, name)}"
        )
    return source


def recover(bundle: Path) -> str | None:
    """Puts the old bundle back if a killed refresh left none. Returns what was done."""
    if bundle.exists() or not kept_beside(bundle).exists():
        return None
    put_back(bundle)
    return f"an earlier refresh was killed while it replaced {bundle}; the old bundle is back"


def recover_unloaded(bundle: Path, manifest: Manifest, source: Source | None) -> str | None:
    """Puts the old bundle back if a killed refresh replaced it and never loaded the new one.

    Then the service, whose model is `source`, still serves the old one. Returns what was done.
    """
    if source is None or source.checksum in (None, manifest.checksum):
        return None
    with suppress(BundleError, OSError):
        if read_manifest(kept_beside(bundle)).checksum == source.checksum:
            put_back(bundle)
            return (
                "an earlier refresh was killed before the service loaded version "
                f"{manifest.version}; version {source.version}, which it serves, is in {bundle} "
                "again"
            )
    return None


def load_command(url: str, name: str) -> str:
    """A command that makes the service load the model."""
    return f'curl -X POST {url}/admin/models/{name}/load -H "x-api-key: $DUET_ADMIN_KEY"'


def _is_elsewhere(source: Source, bundle: Path) -> bool:
    """Whether the service reads a folder of this machine that is not the bundle's.

    A service in a container has other paths, so a path alone proves nothing.
    """
    if not (source.folder / MANIFEST).is_file() or source.folder.samefile(bundle):
        return False
    with suppress(BundleError, OSError):
        checksum = read_manifest(source.folder).checksum
        return source.checksum in (None, checksum)
    return False
