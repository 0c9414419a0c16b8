"""The chart, as helm renders it."""

import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from service import __version__
from service.settings import Settings
from tests.support.dockerfiles import read
from tests.support.server_process import ROOT

CHART = ROOT / "kubernetes" / "duet"
EVERYTHING = ("--values", str(ROOT / "tests/unit/kubernetes/everything.yaml"))
VARIABLES = {f"DUET_{name.upper()}" for name in Settings.model_fields}

Render = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def render() -> Render:
    """What the chart makes of these arguments, by kind."""
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("needs helm; docker/verify.sh brings it")

    def run(*arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [helm, "template", "prod", str(CHART), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ValueError(done.stderr)
        return {each["kind"]: each for each in yaml.safe_load_all(done.stdout) if each}

    return run


def pod(made: dict[str, Any]) -> dict[str, Any]:
    return dict(made["Deployment"]["spec"]["template"]["spec"])


def environment(made: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod(made)["containers"]
    return {each["name"]: each.get("value") for each in container["env"]}


def test_the_version_is_the_services() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_by_default(render: Render) -> None:
    made = render()
    assert made.keys() == {"Deployment", "Service", "PodDisruptionBudget"}
    assert made["Deployment"]["spec"]["replicas"] == 2
    assert pod(made)["containers"][0]["image"] == "duet:cpu"
    assert pod(made)["enableServiceLinks"] is False  # a service named duet would set DUET_PORT


@pytest.mark.parametrize("arguments", [(), EVERYTHING])
def test_variables_are_settings(render: Render, arguments: tuple[str, ...]) -> None:
    given = {name: value for name, value in environment(render(*arguments)).items() if value}
    assert given.keys() <= VARIABLES
    for name in ("DUET_API_KEYS_FILE", "DUET_ADMIN_KEYS_FILE"):
        given.pop(name, None)  # which only a pod has
    fields = {name.removeprefix("DUET_").lower(): value for name, value in given.items()}
    settings = Settings(**fields)
    if arguments:
        assert (settings.max_body_bytes, settings.speculate) == (20_000_000, False)
        assert (settings.timeout, settings.device) == (2.5, "cuda")


def test_everything(render: Render) -> None:
    made = render(*EVERYTHING)
    assert {"HorizontalPodAutoscaler", "Secret", "Ingress"} <= made.keys()
    assert "replicas" not in made["Deployment"]["spec"]  # the autoscaler's to say
    limits = pod(made)["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1
    assert pod(made)["containers"][0]["image"] == "duet:gpu"
    assert pod(made)["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert made["Secret"]["stringData"] == {"api-keys": "one\ntwo"}
    (metric,) = made["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == "duet_inputs_in_work"
    monitor = render("--set", "metrics.podMonitor=true")["PodMonitor"]
    selector = made["Deployment"]["spec"]["selector"]
    assert monitor["spec"]["selector"] == selector


def test_pods_may_do_little_and_are_the_images_user(render: Render) -> None:
    spec = pod(render())
    _, stages = read(ROOT / "docker" / "Dockerfile")
    user, group = map(int, stages["cpu"].only("USER").split(":"))
    assert spec["securityContext"]["runAsUser"] == user
    assert spec["securityContext"]["runAsGroup"] == group
    security = spec["containers"][0]["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_probes_ask_what_the_service_answers(render: Render) -> None:
    (container,) = pod(render())["containers"]
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    assert container["ports"] == [
        {"name": "http", "containerPort": Settings.model_fields["port"].default}
    ]


@pytest.mark.parametrize("grace", [10, 600])
def test_a_pod_is_killed_later_than_it_stops_by_itself(render: Render, grace: int) -> None:
    made = render("--set", f"gracePeriodSeconds={grace}")
    assert environment(made)["DUET_GRACE_PERIOD"] == str(grace)
    drain = pod(made)["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod(made)["terminationGracePeriodSeconds"] > drain + grace


def test_what_selects_pods_selects_these(render: Render) -> None:
    made = render(*EVERYTHING)
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        made["Deployment"]["spec"]["selector"]["matchLabels"],
        made["Service"]["spec"]["selector"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector
        assert selector.items() <= labels.items()


def test_keys_of_a_secret_that_is_there(render: Render) -> None:
    made = render("--set", "keys.existingSecret=mine,keys.adminKeysEntry=admin")
    assert "Secret" not in made
    assert environment(made)["DUET_API_KEYS_FILE"] == "/run/secrets/duet/api-keys"
    assert environment(made)["DUET_ADMIN_KEYS_FILE"] == "/run/secrets/duet/admin"
    assert {"secretName": "mine", "defaultMode": 0o440} in [
        volume.get("secret") for volume in pod(made)["volumes"]
    ]


def test_admin_keys_come_of_a_secret_that_is_there(render: Render) -> None:
    with pytest.raises(ValueError, match=r"adminKeysEntry is an entry of keys\.existingSecret"):
        render("--set", "keys.adminKeysEntry=admin,keys.create={one}")
