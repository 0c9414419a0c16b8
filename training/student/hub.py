"""The Hugging Face hub: asks once whether it has a model or a data set, before a library asks.

Those that load from it try again for half a minute and more where there is no network.
"""

import logging
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

from training.student.files import StudentError


def why_not_on_hub(name: str, kind: Literal["model", "dataset"] = "model") -> str | None:
    """None if the hub has `name`; else, in a few words, why the hub cannot be asked.

    What the hub cannot be asked for may still be in its cache. Raises StudentError where `name` is
    the path of a folder that does not exist, no name of the hub, or one that the hub does not have.
    """
    # it writes its lines itself; the root logger would write them again
    logging.getLogger("huggingface_hub").propagate = False
    what = "model" if kind == "model" else "data set"
    if _is_path(name):
        raise StudentError(f"{name}: there is no such folder")
    try:
        HfApi().repo_info(name, repo_type=kind, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except HFValidationError as error:
        raise StudentError(
            f"{name}: neither a folder that exists nor the name of a {what} on the hub"
        ) from error
    except GatedRepoError as error:
        raise StudentError(
            f"{name}: the hub gives this {what} only to those who accepted its terms; accept them "
            "on its page, and set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise StudentError(
            f"{name}: there is no such folder, and the hub has no such {what}; for a private one, "
            "set HF_TOKEN"
        ) from error
    except Exception as error:  # requests' or httpx', by the version
        return _root(error)
    return None


def not_cached(name: str, why: str, kind: str) -> str:
    """The message for what is neither a folder nor in the cache of a hub that is out of reach."""
    return (
        f"{name}: there is no such folder, and the hub cannot be asked for it ({why}); "
        f"give the folder of a {kind}, or connect to the hub"
    )


def _is_path(name: str) -> bool:
    """Whether a name can only be that of a folder. The hub's are `name` and `owner/name`."""
    folder = Path(name)
    return (
        name.startswith((".", "/", "~"))
        or name.count("/") > 1
        or name.endswith("/")
        or (folder.parent != Path() and folder.parent.is_dir())
        or folder.exists()
    )


def _root(error: BaseException) -> str:
    """What lies behind an error, in one line."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return " ".join(str(error).split()) or type(error).__name__
