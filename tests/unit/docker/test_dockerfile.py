import json
import re
import tomllib

import pytest

from service import __version__
from service.settings import Settings
from tests.support.dockerfiles import Stage, read
from tests.support.server_process import ROOT

ARGUMENTS, STAGES = read(ROOT / "docker" / "Dockerfile")
SERVING = ("cpu", "gpu")
ENVIRONMENT = re.compile(r"(\w+)=(\S+)")


def copied(stage: Stage) -> list[str]:
    """What comes from the repository."""
    found = []
    for rest in stage.all("COPY"):
        if "--from=" not in rest:
            *sources, _ = rest.split()
            found += sources
    return found


def ignored_but() -> set[str]:
    patterns = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert patterns[0] == "*"
    assert [line for line in patterns[1:] if not line.startswith("!")] == ["**/__pycache__"]
    return {line.removeprefix("!") for line in patterns if line.startswith("!")}


def test_there_are_the_targets_and_cpu_is_the_default() -> None:
    assert {"cpu", "gpu", "train"} <= STAGES.keys()
    assert list(STAGES)[-1] == "cpu"


def test_the_context_is_what_is_copied_and_no_more() -> None:
    needed = {source for stage in STAGES.values() for source in copied(stage)}
    covered = {"service/__init__.py"}  # by its folder
    assert needed - covered == ignored_but()
    assert all((ROOT / source).exists() for source in needed)


def test_every_package_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.removesuffix("*") for name in packages} <= set(copied(STAGES["source"]))


@pytest.mark.parametrize("name", [".venv", "data", "runs", ".git", "tests", ".env"])
def test_what_stays_out(name: str) -> None:
    assert not any(kept == name or kept.startswith(f"{name}/") for kept in ignored_but())


def test_what_other_stages_give_exists() -> None:
    for stage in STAGES.values():
        for rest in stage.all("COPY"):
            if found := re.search(r"--from=(\S+)", rest):
                assert found[1] in STAGES


@pytest.mark.parametrize("argument", ["PYTHON_IMAGE", "CUDA_IMAGE"])
def test_base_images_have_a_version_and_can_be_replaced(argument: str) -> None:
    assert re.fullmatch(r"[\w/]+:\d+\.\d+\.\d+-\S+", ARGUMENTS[argument])
    bases = {stage.base for stage in STAGES.values()}
    assert bases == {"scratch", "cuda", "${PYTHON_IMAGE}", "${CUDA_IMAGE}"}


@pytest.mark.parametrize("target", ["cpu", "gpu", "train"])
def test_targets(target: str) -> None:
    stage = STAGES[target]
    assert stage.only("USER") == "10001:10001"
    assert json.loads(stage.only("ENTRYPOINT"))[0] == "python"  # no shell between
    assert f"VERSION={__version__}" in stage.all("ARG")
    labels = stage.only("LABEL")
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels


@pytest.mark.parametrize("target", SERVING)
def test_serving_targets(target: str) -> None:
    stage = STAGES[target]
    environment = dict(ENVIRONMENT.findall(stage.only("ENV")))
    settings = {name for name in environment if name.startswith("DUET_")}
    assert settings <= {f"DUET_{name.upper()}" for name in Settings.model_fields}
    assert environment["DUET_HOST"] == "0.0.0.0"
    assert int(stage.only("EXPOSE")) == Settings.model_fields["port"].default
    check = json.loads(stage.only("HEALTHCHECK").partition("CMD ")[2])
    (script,) = copied(stage)
    assert f"{script} {check[-1]}" in stage.all("COPY")
    bundles = environment["DUET_MODELS"]
    assert any(
        rest.endswith(f"--chown=10001:10001 {bundles} {bundles}") for rest in stage.all("COPY")
    )


def test_the_headers_of_cuda_are_those_of_its_image() -> None:
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    _, _, tag = ARGUMENTS["CUDA_IMAGE"].partition(":")
    major, minor, *_ = tag.split(".")
    assert pins["nvidia-cuda-runtime"].startswith(f"{major}.{minor}.")
