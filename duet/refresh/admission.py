"""Replaces the bundle in use and makes the service load it, or puts the old bundle back."""

from pathlib import Path

import export.admit
from duet.refresh.checks import load_command
from duet.refresh.errors import RefreshError, WorseError
from duet.refresh.running_service import RefusedError, RunningService
from export.admit import VerdictError
from export.bundle import BundleError, Manifest
from export.replacing import put_back
from export.verify import read_manifest


def same_student(new: Manifest, old: Manifest) -> bool:
    """Whether two bundles give the same answers: only version, origin and card may differ."""

    def answers(manifest: Manifest) -> object:
        facts = manifest.model_dump(exclude={"version", "provenance", "checksum"})
        del facts["files"]["MODEL_CARD.md"]
        return facts

    return answers(new) == answers(old)


def replace(
    service: RunningService, name: str, new: Path, verdict: Path, bundle: Path, old_version: str
) -> None:
    """Replaces `bundle` by `new`, and makes the service load it as the model `name`.

    The old bundle stays beside. If the service does not load the new one, the old one is put back.
    Raises RefreshError, and KeyboardInterrupt, then.
    """
    try:
        export.admit.admit(new, verdict, bundle)
    except export.admit.WorseError as error:
        raise WorseError(str(error)) from error
    except (VerdictError, BundleError, OSError) as error:
        raise RefreshError(str(error)) from error
    expected = read_manifest(bundle)
    try:
        loaded = service.load(name)
        if loaded.checksum == expected.checksum:
            return
        reason = (
            f"{service.url}: loads {name} from another folder than {bundle}; give the folder that "
            "it serves by BUNDLE=… (--bundle)"
        )
    except RefusedError as error:
        reason = str(error)
    except BaseException as error:  # the service may have loaded the new bundle all the same
        if _served(service, name) == expected.checksum:
            return
        put_back(bundle)
        state = _load_again(service, name, read_manifest(bundle))
        if not isinstance(error, RefreshError):
            raise
        raise RefreshError(f"{error}; {bundle} is version {old_version} again, {state}") from error
    put_back(bundle)
    raise RefreshError(
        f"{reason}; {bundle} is version {old_version} again, which the service still serves"
    )


def _served(service: RunningService, name: str) -> str | None:
    """The checksum of the bundle that the service serves, None if it does not say."""
    try:
        source = service.loaded(name)
    except RefreshError:
        return None
    return source.checksum if source else None


def _load_again(service: RunningService, name: str, manifest: Manifest) -> str:
    """Makes the service load the old bundle in case that it has loaded the new one meanwhile.

    Returns what it serves, as the end of a sentence.
    """
    if _served(service, name) is not None:
        try:
            if service.load(name).checksum == manifest.checksum:
                return "which the service serves"
        except RefreshError:
            pass
    return (
        "which the service serves from its next start on; if it runs, make sure by "
        f"{load_command(service.url, name)}"
    )
