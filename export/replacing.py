"""Replaces an old bundle by a new one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from export import verify
from export.bundle import BundleError


def require_replaceable(out: Path) -> None:
    """Raises BundleError if `out` exists and is not a complete bundle."""
    if not out.exists():
        return
    try:
        verify.read(out)
    except BundleError as error:
        raise BundleError(
            f"{out} exists and is no bundle, so it is not replaced ({error}); "
            "choose another --out, or delete it"
        ) from error


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yields an empty folder beside `out`. It replaces `out` when the block ends.

    After a failure, the old `out` is in place again. Raises OSError.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        new.mkdir()
        yield new
        if not out.exists():
            new.rename(out)
            return
        out.rename(old)
        try:
            new.rename(out)
        except BaseException:
            old.rename(out)
            raise
