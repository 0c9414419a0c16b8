"""Grafana's dashboard and Prometheus' alerts ask for what the service has."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from service.app import create_app
from service.registry import Registry
from service.settings import Settings
from tests.support.server_process import ROOT

DASHBOARD = json.loads((ROOT / "docker/grafana/dashboards/duet.json").read_text())
RULES = ROOT / "docker/prometheus/rules.yml"
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
ALERTS = [rule["expr"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]
OF_PROMETHEUS = {"up": {"job", "instance"}}
ADDED = {"job", "instance"}  # by Prometheus, to all


@pytest.fixture(scope="module")
def labels(tiny_bundle: Path) -> dict[str, set[str]]:
    """The names that the service's samples have, and the labels of each."""
    settings = Settings(models=[tiny_bundle], threads=1)
    registry = Registry.load(settings)
    with TestClient(create_app(settings, registry)) as client:
        assert client.post("/predict", json={"inputs": "a", "explain": True}).status_code == 200
        text = client.get("/metrics").text
    found = dict(OF_PROMETHEUS)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = {*sample.labels} | ADDED
    return found


def selectors(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric of a query with the labels that it is selected by."""
    for name, _, matchers in re.findall(r"\b((?:duet|process)_\w+|up\b)(\{([^}]*)\})?", query):
        yield name, set(re.findall(r"(\w+)\s*[=!]", matchers))


@pytest.mark.parametrize("query", [*QUERIES, *ALERTS])
def test_queries_are_of_metrics_that_there_are(query: str, labels: dict[str, set[str]]) -> None:
    asked = list(selectors(query))
    assert asked
    for name, matched in asked:
        assert matched <= labels[name], name
    for listed in re.findall(r"\bby \(([^)]*)\)", query):
        names = {each.strip() for each in listed.split(",")}
        assert names <= set.union(*(labels[name] for name, _ in asked))


def test_what_is_no_metric_is_found_out(labels: dict[str, set[str]]) -> None:
    ((name, matched),) = selectors('sum(rate(duet_request_total{colour="red"}[5m]))')
    assert name not in labels
    assert matched == {"colour"}


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not taken & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_grafana_is_given_the_dashboard_and_its_source() -> None:
    provisioning = ROOT / "docker/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    (provider,) = yaml.safe_load((provisioning / "dashboards/duet.yml").read_text())["providers"]
    grafana = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    mounts = dict(each.split(":")[:2] for each in grafana["volumes"])
    assert mounts["./docker/grafana/dashboards"] == provider["options"]["path"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/duet.json"
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["query"] == source["type"] == "prometheus"
    used = set(re.findall(r"\$(\w+)", " ".join(QUERIES))) - {"__rate_interval"}
    assert used == variables.keys() - {"datasource"}


@pytest.fixture
def promtool(tool: Callable[[str, str], str]) -> Callable[..., None]:
    path = tool("promtool", "prometheus")

    def run(*arguments: Any) -> None:
        done = subprocess.run(
            [path, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def test_prometheus_can_parse_the_queries(promtool: Callable[..., None], tmp_path: Path) -> None:
    rules = [
        {"record": f"panel_{i}", "expr": query.replace("$__rate_interval", "1m")}
        for i, query in enumerate(QUERIES)
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": rules}]}))
    promtool("check", "rules", tmp_path / "rules.yml")


def test_prometheus_accepts_its_configuration(promtool: Callable[..., None]) -> None:
    promtool("check", "config", ROOT / "docker/prometheus/prometheus.yml")


def test_alerts_fire_when_they_should(promtool: Callable[..., None]) -> None:
    promtool("test", "rules", ROOT / "tests/unit/docker/alerts.yml")
