"""Replaces an old bundle by a new one, and puts the old one back."""

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


def kept_beside(out: Path) -> Path:
    """Where `replacing(out)` keeps the old bundle: a hidden folder beside `out`.

    It is hidden from services that serve every bundle of a folder.
    """
    path = out.absolute()  # a path such as `.` has no name
    return out.parent / f".{path.name}.before"


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yields an empty folder beside `out`. It replaces `out` when the block ends.

    After a failure, the old `out` is in place again. Otherwise it stays in `kept_beside(out)`, in
    place of an earlier one. Raises OSError.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(out) as temporary:
        new, old = temporary / "new", kept_beside(out)
        new.mkdir()
        yield new
        if not out.exists():
            new.rename(out)
            return
        older = temporary / "older"
        if old.exists():
            old.rename(older)
        out.rename(old)
        try:
            new.rename(out)
        except BaseException:
            old.rename(out)
            if older.exists():
                older.rename(old)
            raise


def put_back(out: Path) -> None:
    """Replaces `out`, if it is there, by the old bundle beside it. Raises OSError."""
    with _temporary(out) as temporary:
        if out.exists():
            out.rename(temporary / "new")
        kept_beside(out).rename(out)


@contextmanager
def _temporary(out: Path) -> Iterator[Path]:
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        yield Path(folder)
