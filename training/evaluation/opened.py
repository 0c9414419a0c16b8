"""Opens the model to evaluate: a checkpoint, a bundle or a running service."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from training.evaluation.model import Model, ModelError


@contextmanager
def opened(name: str, out: Path, served_name: str | None) -> Iterator[Model]:
    """The model in the folder, or at the address, `name`. `out` gets the log of a served bundle.

    Raises ModelError.
    """
    if name.startswith(("http://", "https://")):
        from training.evaluation.remote import RemoteModel

        key = os.environ.get("DUET_API_KEY")
        with closing(RemoteModel.connect(name, served_name, key)) as model:
            yield model
        return
    if served_name is not None:
        raise ModelError(f"--served-name: {name} is no service; leave it out")
    folder = Path(name)
    if (folder / "manifest.json").is_file():
        from training.evaluation.served import served

        with served(folder, out / "service.log") as model:
            yield model
    elif (folder / "student.json").is_file():
        from training.evaluation.checkpoint import Checkpoint  # torch is needed only here

        yield Checkpoint.load(folder)
    else:
        raise ModelError(
            f"{name}: expected a checkpoint (a folder with student.json), a bundle (one with "
            "manifest.json), or a service's address, as http://127.0.0.1:8000"
        )
