"""Finds bundles in the folders of the settings, and refuses all other folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from export.bundle import MANIFEST, BundleError
from export.verify import read_manifest, why_no_bundle
from tasks.task import Name


class Offered(NamedTuple):
    """A bundle that may be served. `alias` is the name that the settings give it, if they do."""

    folder: Path
    alias: str | None = None

    def name(self) -> str:
        """The name that it is served under. Raises BundleError if the manifest is wrong."""
        return self.alias or read_manifest(self.folder).name


def parse_root(root: Path) -> Offered:
    """One of the settings' `models`: FOLDER, or NAME=FOLDER. Raises BundleError for a wrong NAME.

    A folder that exists is never read as NAME=FOLDER.
    """
    name, sign, folder = str(root).partition("=")
    if not sign or "/" in name or root.exists():
        return Offered(root)
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise BundleError(
            f"{root}: expected NAME=FOLDER with a NAME of ASCII letters, digits, dots, dashes and "
            f"underscores, got {name!r}"
        ) from error
    return Offered(Path(folder), name)


def find_bundles(roots: Sequence[Path]) -> list[Offered]:
    """The bundles, each once: a root that is a bundle, or the bundles in it by name.

    Hidden folders and links in a root are skipped. A bundle that one root gives an alias has only
    that name. Raises BundleError if a root is not a bundle and contains none.
    """
    offers = [parse_root(root) for root in roots]
    seen = {folder.resolve() for folder, alias in offers if alias}
    found = []
    for folder, alias in offers:
        if alias:
            found.append(_aliased(folder, alias))
            continue
        for bundle in _bundles_of(folder):
            if bundle.resolve() not in seen:
                seen.add(bundle.resolve())
                found.append(Offered(bundle))
    return found


def name_bundles(roots: Sequence[Path]) -> dict[str, Offered]:
    """The bundles of `find_bundles` by the name that each is served under.

    Raises BundleError, too, if two have one name or a manifest is wrong.
    """
    named: dict[str, Offered] = {}
    for offered in find_bundles(roots):
        name = offered.name()
        if name in named:
            other = named[name].folder
            raise BundleError(
                f"{offered.folder}: named {name}, as the bundle in {other} is; give one of them "
                f"another name: --models {other},{name}-2={offered.folder}"
            )
        named[name] = offered
    return named


def is_alias(name: str, folder: Path, roots: Sequence[Path]) -> bool:
    """Whether a root gives the folder this name."""
    offers = [parse_root(root) for root in roots]
    return any(each.alias == name and each.folder.resolve() == folder.resolve() for each in offers)


def check_within(folder: Path, roots: Sequence[Path]) -> None:
    """Raises BundleError if a folder is outside all roots. Links are followed."""
    allowed = [parse_root(root).folder for root in roots]
    if not any(folder.resolve().is_relative_to(root.resolve()) for root in allowed):
        known = ", ".join(map(str, allowed))
        raise BundleError(f"{folder}: not in the folders that models may come from ({known})")


def _aliased(folder: Path, alias: str) -> Offered:
    if not _is_bundle(folder):
        held = [bundle.name for bundle in _bundles_of(folder)]
        raise BundleError(
            f"{alias}={folder}: not a bundle, but a folder of bundles ({', '.join(held)}); one "
            f"name is for one bundle: --models {alias}={folder / held[0]}"
        )
    return Offered(folder, alias)


def _bundles_of(root: Path) -> list[Path]:
    if _is_bundle(root):
        return [root]
    folders = sorted(filter(_is_offered, root.iterdir())) if root.is_dir() else []
    if not folders:
        raise BundleError(why_no_bundle(root))
    return folders


def _is_offered(folder: Path) -> bool:
    return not folder.name.startswith(".") and not folder.is_symlink() and _is_bundle(folder)


def _is_bundle(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()
