"""What is deployed on Ray Serve, before any cluster: `make test-ray`."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs Ray: make test-ray")

import yaml
from ray.serve import Deployment
from ray.serve.schema import ServeDeploySchema

from service.ray.app import app
from service.settings import Settings
from tests.cluster.clusters import CONFIG


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DUET_{name.upper()}", raising=False)


def deployment(**arguments: Any) -> Deployment:
    return app(arguments)._bound_deployment


def test_requests_of_a_replica_fill_its_slots_and_its_queue() -> None:
    found = deployment(max_rows=8, max_queue=5, threads=3, grace_period=7)
    assert found.max_ongoing_requests == 13
    assert found.ray_actor_options == {"num_cpus": 3}
    assert found._deployment_config.graceful_shutdown_timeout_s == 7
    settings, max_models = found.init_args
    assert (settings.max_rows, settings.max_queue, max_models) == (8, 5, 3)
    assert deployment(max_rows=8).max_ongoing_requests == 16


def test_the_environment_has_settings_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUET_THREADS", "5")
    monkeypatch.setenv("DUET_MAX_QUEUE", "100")
    found = deployment(max_rows=8)
    assert found.max_ongoing_requests == 108
    assert found.ray_actor_options == {"num_cpus": 5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_rows": 0}, r"--max-rows \(DUET_MAX_ROWS\): .*greater than or equal to 1, got 0"),
        ({"maxrows": 5}, r"--maxrows .*not permitted"),
        ({"max_models": 0}, "max_models: expected a whole number from 1 on, got 0"),
        ({"admin_keys": ["key"]}, "admin_keys: not possible on Ray"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        app(arguments)


def test_the_file_for_serve_deploy_is_one() -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load(CONFIG.read_text()))
    (application,) = config.applications
    assert application.import_path == "service.ray.app:app"
    found = deployment(**application.args)
    (options,) = application.deployments
    assert options.name == found.name
    assert options.autoscaling_config["target_ongoing_requests"] == application.args["max_rows"]
    assert options.ray_actor_options.num_cpus == application.args["threads"]


def test_a_part_of_a_gpu_can_be_taken(tmp_path: Path) -> None:
    content = CONFIG.read_text().replace("# num_gpus", "num_gpus")
    config = ServeDeploySchema.model_validate(yaml.safe_load(content))
    assert config.applications[0].deployments[0].ray_actor_options.num_gpus == 0.25
