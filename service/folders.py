"""Finds bundles in the folders of the settings, and refuses all other folders."""

from collections.abc import Sequence
from pathlib import Path

from export.bundle import MANIFEST, BundleError


def find_bundles(roots: Sequence[Path]) -> list[Path]:
    """The folders of bundles, each once: a root that is a bundle, or the bundles in it by name.

    Hidden folders and links in a root are skipped. Raises BundleError if a root is not a bundle and
    contains none.
    """
    found: dict[Path, Path] = {}
    for root in roots:
        for folder in _bundles_of(root):
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def check_within(folder: Path, roots: Sequence[Path]) -> None:
    """Raises BundleError if a folder is outside all roots. Links are followed."""
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
