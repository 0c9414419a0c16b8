import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.support.dockerfiles import read
from tests.support.server_process import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text()
FILE = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
REPLICAS = ("duet", "duet-gpu")
HAPROXY = (ROOT / "docker" / "haproxy.cfg").read_text()
DEFAULTED = re.compile(r"\$\{(\w+):-([^}]*)\}")

# What users of the containers do not set: where a container listens is its own matter, keys come as
# variables, and /admin is out of reach behind the proxy.
NOT_PASSED = {"host", "port", "fd", "check", "api_keys_file", "admin_keys", "admin_keys_file"}
NOT_PASSED |= {"device"}


def example() -> dict[str, str]:
    """The variables of .env.example."""
    found = re.findall(r"^#(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.M)
    assert len(found) == len(dict(found))
    return dict(found)


def passed_on() -> set[str]:
    """Variables that containers get as they are set, if they are."""
    return {
        name
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if value is None
    }


@pytest.mark.parametrize("name", REPLICAS)
def test_every_setting_can_be_set(name: str) -> None:
    passed = {each for each in SERVICES[name]["environment"] if each.startswith("DUET_")}
    settings = {f"DUET_{field.upper()}" for field in Settings.model_fields.keys() - NOT_PASSED}
    assert passed - {"DUET_DEVICE"} == settings
    assert SERVICES[name]["environment"].get("DUET_DEVICE") == (
        "cuda" if name == "duet-gpu" else None
    )


def test_the_example_has_every_variable_and_its_default() -> None:
    defaults = dict(DEFAULTED.findall(TEXT))
    assert example().keys() == defaults.keys() | passed_on()
    for name, default in defaults.items():
        assert example()[name] == default
    for name in passed_on():
        if field := Settings.model_fields.get(name.removeprefix("DUET_").lower()):
            shown = example()[name]
            default = "" if field.default in (None, []) else field.default
            assert shown == (default if isinstance(default, str) else json.dumps(default)) or (
                float(shown) == default
            )


def test_base_images_are_the_dockerfiles() -> None:
    arguments, stages = read(ROOT / "docker" / "Dockerfile")
    defaults = dict(DEFAULTED.findall(TEXT))
    assert {name: defaults[name] for name in arguments} == arguments
    for service in SERVICES.values():
        if build := service.get("build"):
            assert build["target"] in stages
            assert (ROOT / build["dockerfile"]).is_file()
            assert build["args"].keys() == arguments.keys()


@pytest.mark.parametrize("name", ["duet", "duet-gpu", "proxy", "prometheus"])
def test_containers_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", [*REPLICAS, "proxy"])
@pytest.mark.parametrize("grace", ["10", "300"])
def test_a_container_is_stopped_later_than_its_service(name: str, grace: str) -> None:
    stop = SERVICES[name]["stop_grace_period"].replace("${DUET_GRACE_PERIOD:-10}", grace)
    found = re.fullmatch(r"(\d+)m(\d+)s", stop)
    assert found
    assert int(found[1]) * 60 + int(found[2]) > int(grace)


def test_replicas_have_as_many_threads_as_cores() -> None:
    for name in REPLICAS:
        assert SERVICES[name]["cpus"] == SERVICES[name]["environment"]["DUET_THREADS"]


def test_only_this_machine_reaches_what_is_published() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert port.startswith(("127.0.0.1:", "${PUBLISH_ADDRESS:-127.0.0.1}:")), name
    assert not any("ports" in SERVICES[name] for name in REPLICAS)


def test_what_is_mounted_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = DEFAULTED.sub(r"\2", volume).partition(":")[0]
            if source.startswith("./docker/"):
                assert (ROOT / source).exists(), source
            elif not source.startswith("."):
                assert source in FILE["volumes"]


def test_training_keeps_what_it_makes_in_volumes() -> None:
    """Its image makes these folders, so that a volume is its user's."""
    train = read(ROOT / "docker" / "Dockerfile")[1]["train"]
    home = train.only("WORKDIR")
    made = next(run for run in train.all("RUN") if "mkdir" in run)
    for volume in SERVICES["train"]["volumes"]:
        target = DEFAULTED.sub(r"\2", volume).split(":")[1]
        assert target.removeprefix(f"{home}/") in made.split()
    assert f"HF_HOME={home}/runs/" in train.only("ENV")
    assert f"{home}/recipes" in train.all("COPY")[-1]


def test_the_proxy_and_prometheus_find_the_replicas() -> None:
    assert "presetenv REPLICAS duet:8000 " in HAPROXY
    assert "presetenv LISTEN :8000\n" in HAPROXY
    assert SERVICES["duet-gpu"]["networks"]["default"]["aliases"] == ["duet"]
    scrape = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    duet, proxy = scrape["scrape_configs"]
    (found,) = duet["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["duet"], Settings.model_fields["port"].default)
    ((target,),) = [each["targets"] for each in proxy["static_configs"]]
    assert target == "proxy:8405"
    assert "presetenv METRICS_LISTEN :8405\n" in HAPROXY


def test_gpus_are_asked_for_by_profile() -> None:
    for name in ("duet-gpu", "train-gpu"):
        (device,) = SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]
        assert SERVICES[name]["profiles"]
    assert "profiles" not in SERVICES["duet"]


def test_compose_reads_it(tool: Callable[[str, str], str], tmp_path: Path) -> None:
    """Debian's docker-compose, which needs no engine for that."""
    compose = tool("docker-compose", "docker-compose")
    profiles = [f"--profile={name}" for name in ("gpu", "observability", "train")]
    done = subprocess.run(
        [compose, *profiles, "config"],
        cwd=ROOT,
        env=os.environ | {"BUNDLES": str(tmp_path), "DUET_MAX_ROWS": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services.keys() == SERVICES.keys()
    assert services["duet"]["volumes"] == [f"{tmp_path}:/bundles:ro"]
    assert services["duet"]["environment"]["DUET_MAX_ROWS"] == "7"
    assert services["duet"]["environment"]["DUET_MAX_QUEUE"] is None
