"""Metrics for Prometheus. Names and units follow its guidelines."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from service import __version__
from service.engine.prediction import Prediction
from service.registry import Registry

METHODS: Final = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
SECONDS: Final = (  # a label of a small student takes 2 ms, a rationale of a large one seconds
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)


class Metrics:
    """Counts requests and predictions. `collectors` also holds the engines' metrics."""

    def __init__(self, models: Registry) -> None:
        self.collectors = CollectorRegistry()
        self.collectors.register(Engines(models))
        for process in (ProcessCollector, PlatformCollector, GCCollector):
            process(registry=self.collectors)
        Info("duet_build", "What serves.", registry=self.collectors).info({"version": __version__})
        self._requests = Counter(
            "duet_http_requests",
            "Requests by the template of their path and by their outcome.",
            ["method", "route", "status", "error_type"],
            registry=self.collectors,
        )
        self._request_seconds = self._seconds(
            "duet_http_request_duration", "Time from a request to the end of its answer.", "route"
        )
        self._queue_seconds = self._seconds(
            "duet_queue", "Time that inputs waited for a slot.", "model"
        )
        self._label_seconds = self._seconds(
            "duet_label", "Time from an input's slot to its label.", "model"
        )
        self._rationale_seconds = self._seconds(
            "duet_rationale", "Time from an input's slot to the end of its rationale.", "model"
        )
        self._tokens = Counter(
            "duet_tokens",
            "Tokens of answered inputs, by kind: input, label or rationale.",
            ["model", "kind"],
            registry=self.collectors,
        )

    def request(
        self, method: str, route: str, status: int, error_type: str | None, seconds: float
    ) -> None:
        """Counts a finished request."""
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, status, error_type or "").inc()
        self._request_seconds.labels(route).observe(seconds)

    def prediction(self, prediction: Prediction) -> None:
        """Counts an answered input."""
        model, timings, usage = prediction.model.name, prediction.timings, prediction.usage
        self._queue_seconds.labels(model).observe(timings.queue)
        self._label_seconds.labels(model).observe(timings.label)
        if timings.rationale is not None:
            self._rationale_seconds.labels(model).observe(timings.rationale)
        for kind in ("input", "label", "rationale"):
            self._tokens.labels(model, kind).inc(getattr(usage, f"{kind}_tokens"))

    def _seconds(self, name: str, description: str, label: str) -> Histogram:
        return Histogram(
            name, description, [label], unit="seconds", buckets=SECONDS, registry=self.collectors
        )


class Engines(Collector):
    """Collects the state of the engines whenever Prometheus asks."""

    def __init__(self, models: Registry) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        model_info = GaugeMetricFamily(
            "duet_model_info",
            "The models that are served.",
            labels=["model", "version", "task", "precision", "device"],
        )
        gauges = {
            "slots": "Texts and label sets that a model can compute at once.",
            "slots_in_use": "Slots that hold a text or a label set.",
            "inputs_in_work": "Inputs that are accepted and not answered yet.",
            "inputs_in_work_limit": "Inputs that may be in work; more are refused.",
        }
        counters = {
            "decoder_steps": "Steps of the decoder; a step is of all slots together.",
            "drafted_tokens": "Tokens that were drafted.",
            "accepted_tokens": "Drafted tokens that were right.",
        }
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {
            name: GaugeMetricFamily(f"duet_{name}", text, labels=["model"])
            for name, text in gauges.items()
        } | {
            name: CounterMetricFamily(f"duet_{name}", text, labels=["model"])
            for name, text in counters.items()
        }
        for engine, admission in self._models.served():
            manifest = engine.manifest
            model_info.add_metric(
                [
                    manifest.name,
                    manifest.version,
                    manifest.task.name,
                    manifest.precision,
                    engine.device,
                ],
                1,
            )
            values = {
                "slots": engine.slots,
                "slots_in_use": engine.slots_in_use,
                "inputs_in_work": admission.inputs,
                "inputs_in_work_limit": admission.max_inputs,
                "decoder_steps": engine.steps,
                "drafted_tokens": engine.drafted,
                "accepted_tokens": engine.accepted,
            }
            for name, value in values.items():
                families[name].add_metric([manifest.name], value)
        yield model_info
        yield from families.values()
