import threading
from pathlib import Path

import pytest

from export.bundle import BundleError
from service.errors import ModelNotFound
from service.registry import Registry
from service.settings import Settings
from tests.bundles import write_bundle
from tests.students import Student


def load(*folders: Path) -> Registry:
    return Registry.load(Settings(models=list(folders), threads=1, max_rows=2))


def engine_threads() -> int:
    return sum(thread.name == "duet-engine" for thread in threading.enumerate())


def test_the_first_model_is_the_default(
    tiny_bundle: Path, tmp_path: Path, student: Student
) -> None:
    write_bundle(tmp_path / "other", student, name="other")
    registry = load(tmp_path / "other", tiny_bundle)
    assert [engine.manifest.name for engine in registry] == ["other", "tiny"]
    assert registry.get(None) is registry.get("other") is registry.default
    assert registry.get("tiny").manifest.name == "tiny"
    with pytest.raises(ModelNotFound, match="'nobody': unknown; this service has other, tiny"):
        registry.get("nobody")
    registry.close()
    assert not any(engine.alive for engine in registry)


def test_the_settings_bound_the_requests(tiny_bundle: Path) -> None:
    settings = Settings(models=[tiny_bundle], threads=1, max_rows=2, max_queue=5, timeout=3)
    registry = Registry.load(settings)
    admission = registry.default.admission
    assert (admission.max_inputs, admission.timeout) == (7, 3.0)
    registry.close()


def test_one_bad_bundle_and_nothing_stays_loaded(tiny_bundle: Path, tmp_path: Path) -> None:
    before = engine_threads()
    with pytest.raises(BundleError, match="not a bundle"):
        load(tiny_bundle, tmp_path)
    with pytest.raises(BundleError, match="another of the bundles is named tiny"):
        load(tiny_bundle, tiny_bundle)
    assert engine_threads() == before


def test_speculation_can_be_switched_off(tiny_bundle: Path) -> None:
    for speculate in (True, False):
        registry = Registry.load(
            Settings(models=[tiny_bundle], threads=1, max_rows=2, speculate=speculate)
        )
        assert (registry.default.counters.drafted > 0) == speculate  # at the golden examples
        registry.close()
