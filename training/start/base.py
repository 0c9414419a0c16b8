"""What a student starts from: a pretrained T5 where the hub can be reached, else nothing."""

import threading
from pathlib import Path
from typing import Final, NamedTuple

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import RepositoryNotFoundError

from training.yaml_files import ConfigError

SCRATCH: Final = "scratch"
FOR_CPU: Final = "google/flan-t5-small"  # 77 M parameters
FOR_GPU: Final = "google/flan-t5-base"  # 248 M
PATIENCE: Final = 3  # seconds for the hub's answer


class Base(NamedTuple):
    """The name of a pretrained T5, None for random weights, and why it was chosen."""

    name: str | None
    why: str


def choose_base(wanted: str | None, *, gpu: bool) -> Base:
    """The base that is wanted, or the one for this machine if it can be had.

    Raises ConfigError if the one that is wanted cannot be had.
    """
    if wanted == SCRATCH:
        return Base(None, "as --model says")
    name = wanted or (FOR_GPU if gpu else FOR_CPU)
    if Path(name).is_dir():
        return Base(name, "as --model says")
    trouble = None if _is_cached(name) else _trouble_with_hub(name)
    if trouble is None:
        machine = "a GPU" if gpu else "a CPU"
        return Base(name, "as --model says" if wanted else f"pretrained, of a size for {machine}")
    if wanted is None:
        return Base(None, f"{name} cannot be had: {trouble}")
    raise ConfigError(
        f"--model: {name} is no folder, and {trouble}; give the folder of a T5, or `scratch`"
    )


def _is_cached(name: str) -> bool:
    """Whether the hub's cache holds a model's configuration and weights."""
    try:
        found = [
            isinstance(try_to_load_from_cache(name, file), str)
            for file in ("config.json", constants.SAFETENSORS_SINGLE_FILE, "pytorch_model.bin")
        ]
    except ValueError:  # not the form of a name on the hub
        return False
    return found[0] and any(found[1:])


def _trouble_with_hub(name: str) -> str | None:
    """Why the hub does not give a model, or None. Waits no longer than PATIENCE."""
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    trouble = [f"{constants.ENDPOINT} does not answer"]

    def ask() -> None:
        try:
            HfApi().model_info(name, timeout=PATIENCE)
        except RepositoryNotFoundError:
            trouble[0] = f"{constants.ENDPOINT} has no such model"
        except Exception as error:  # the client, its transport and its parser raise many kinds
            trouble[0] = f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})"
        else:
            trouble.clear()

    # in a thread, as looking up a host's address knows no limit of time
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE + 1)
    return trouble[0] if trouble else None
