"""Ray for tests and benchmarks: a cluster of this machine alone, and the service on it."""

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import ray
import yaml
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from tests.support.server_process import ROOT

CONFIG = ROOT / "service" / "ray" / "app.yaml"
ENVIRONMENT = {  # of all processes of Ray
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray writes one into the home folder
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "service.ray.proxy.middlewares",
}
APPLICATION, DEPLOYMENT = "duet", "Duet"
TIMEOUT = 600  # seconds; reached only where something hangs


@dataclass(frozen=True)
class Deployed:
    url: str

    @property
    def replicas(self) -> list[int]:
        """The process ids of those that live."""
        return processes(psutil.Process().pid, f"ray::ServeReplica:{APPLICATION}:{DEPLOYMENT}")

    @property
    def running(self) -> int:
        """Replicas that are ready, as Ray sees it."""
        status = serve.status().applications[APPLICATION].deployments[DEPLOYMENT]
        return status.replica_states.get("RUNNING", 0)

    def wait_until_running(self, replicas: int) -> None:
        deadline = time.monotonic() + TIMEOUT
        while self.running != replicas or len(self.replicas) != replicas:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.running} replicas run, not {replicas}: {serve.status()}")
            time.sleep(0.05)


def processes(ancestor: int, name: str) -> list[int]:
    """Ids of the processes below another that have a name of that beginning."""
    found = []
    for process in psutil.Process(ancestor).children(recursive=True):
        try:
            if "".join(process.cmdline()[:1]).startswith(name):
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


@contextmanager
def cluster(cpus: int) -> Iterator[None]:
    """A cluster of so many CPUs, whatever the machine has, and Serve's proxy on 127.0.0.1."""
    os.environ |= ENVIRONMENT
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        serve.shutdown()
        ray.shutdown()


@contextmanager
def serving(arguments: dict[str, Any], **options: Any) -> Iterator[Deployed]:
    """The service on a cluster. `options` are of the deployment, as `num_replicas`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with cluster(cpus=4):
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        yield deploy(f"http://127.0.0.1:{port}", arguments, **options)


def deploy(url: str, arguments: dict[str, Any], **options: Any) -> Deployed:
    """Deploys it as `serve deploy` does, by the file that the project has, and waits for it.

    `arguments` are laid over those of the file, `options` take the place of its deployment's.
    """
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    (application,) = config["applications"]
    application["args"] |= arguments
    application["deployments"] = [{"name": DEPLOYMENT, **options}]
    client = _get_global_client()
    client.deploy_apps(ServeDeploySchema.model_validate(config))
    deadline = time.monotonic() + TIMEOUT  # Ray's own is too short for a busy machine
    while (status := serve.status().applications[APPLICATION]).status != "RUNNING":
        if status.status == "DEPLOY_FAILED" or time.monotonic() > deadline:
            raise RuntimeError(f"not deployed: {status}")
        time.sleep(0.05)
    client.wait_for_proxies_serving(wait_for_applications_running=True)
    return Deployed(url)
