"""THIRD_PARTY.md lists what the service needs, as constraints.txt pins it."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable, Iterator

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.server_process import ROOT

COPYLEFT = re.compile(r"GPL|General Public|SSPL|EUPL|UNKNOWN", re.I)


def table() -> dict[str, tuple[str, str]]:
    """By package: its version and its licence."""
    text = (ROOT / "THIRD_PARTY.md").read_text()
    _, _, block = text.partition("<!-- licences -->\n")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in block.partition("<!-- /licences -->")[0].splitlines()[2:]
    ]
    return {canonicalize_name(name): (version, licence) for name, version, licence in rows}


def needed() -> set[str]:
    """What `pip install '.[cpu]'` brings, Duet itself left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    asked = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    waiting = list(applying(asked, frozenset()))
    while waiting:
        requirement = waiting.pop()
        if requirement.name == project["name"]:
            for extra in requirement.extras:
                waiting += applying(project["optional-dependencies"][extra], frozenset())
            continue
        key = f"{canonicalize_name(requirement.name)}{sorted(requirement.extras)}"
        if key not in found:
            found.add(key)
            requires = importlib.metadata.requires(requirement.name) or []
            waiting += applying(requires, frozenset(requirement.extras))
    return {key.partition("[")[0] for key in found}


def applying(requirements: Iterable[str], extras: frozenset[str]) -> Iterator[Requirement]:
    for requirement in map(Requirement, requirements):
        environments = [{**default_environment(), "extra": extra} for extra in extras | {""}]
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
            yield requirement


def test_it_lists_what_is_needed() -> None:
    assert table().keys() == needed()


def test_the_versions_are_the_pinned_ones() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    assert {name: version for name, (version, _) in table().items()} == {
        name: pins[name] for name in table()
    }


def test_every_licence_allows_what_its_text_says() -> None:
    assert [name for name, (_, licence) in table().items() if COPYLEFT.search(licence)] == []
    weak = {name for name, (_, licence) in table().items() if re.search("MPL|Mozilla", licence)}
    assert weak == {"certifi", "tqdm"}
