"""Where bundles may lie: in the folders of the settings, and nowhere else."""

from collections.abc import Sequence
from pathlib import Path

from export.bundle import MANIFEST, BundleError


def find_bundles(roots: Sequence[Path]) -> list[Path]:
    """The folders of bundles, each once: a root that is one, or else all in it, by their names.

    Hidden ones in it and links are left out. Raises BundleError where a root is no bundle and has
    none in it.
    """
    found: dict[Path, Path] = {}
    for root in roots:
        for folder in _bundles_of(root):
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def check_within(folder: Path, roots: Sequence[Path]) -> None:
    """Raises BundleError where a folder is none of the roots and lies in none, links followed."""
    if not any(folder.resolve().is_relative_to(root.resolve()) for root in roots):
        known = ", ".join(map(str, roots))
        raise BundleError(f"{folder}: not in the folders that models may come from ({known})")


def _bundles_of(root: Path) -> list[Path]:
    if _is_bundle(root):
        return [root]
    folders = sorted(filter(_is_offered, root.iterdir())) if root.is_dir() else []
    if not folders:
        raise BundleError(
            f"{root}: not a bundle, there is no {MANIFEST} in it, nor in a folder in it"
        )
    return folders


def _is_offered(folder: Path) -> bool:
    return not folder.name.startswith(".") and not folder.is_symlink() and _is_bundle(folder)


def _is_bundle(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()
