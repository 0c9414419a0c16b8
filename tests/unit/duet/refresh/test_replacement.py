"""Whatever goes wrong when the new bundle is loaded, the old one is put back."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import export.admit
from duet.refresh import running_service
from duet.refresh.admission import replace, same_student
from duet.refresh.checks import check_served
from duet.refresh.errors import RefreshError, WorseError
from duet.refresh.running_service import Loaded, RunningService
from export.replacing import kept_beside
from export.verify import read_manifest, seal
from service.app import create_app
from service.registry import Registry
from service.settings import Settings
from tests.support.bundles import copy_bundle
from tests.support.checkpoints import contents, names
from tests.support.corrupt_bundles import flip_a_bit
from tests.support.refreshes import KEY
from tests.support.server_process import serve_here

FIGURES = {"rows": 20, "p": 0.5} | {
    f"{before}{name}{after}": 0.5
    for name in ("accuracy", "brier", "score")
    for before, after in (
        *(("", ""), ("old_", "")),
        *(("", "_difference"), ("", "_low"), ("", "_high")),
    )
}


@pytest.fixture
def new(tiny_bundle: Path, tmp_path: Path) -> Path:
    return copy_bundle(tiny_bundle, tmp_path / "new", version="2")


@pytest.fixture
def write_verdict(bundle: Path, new: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a verdict on the two bundles, which admits the new one unless it is told not to."""

    def write(*, admitted: bool = True) -> Path:
        old, candidate = read_manifest(bundle), read_manifest(new)
        verdict = {
            "admitted": admitted,
            "finding": "as it was",
            "sentence": "as it was",
            "new": {"name": "tiny", "version": "2", "checksum": candidate.checksum},
            "old": {"name": "tiny", "version": "1", "checksum": old.checksum},
            "data": {"source": "rows.jsonl", "sha256": "0" * 64},
            "measured": FIGURES,
        }
        (tmp_path / "verdict.json").write_text(json.dumps(verdict))
        return tmp_path / "verdict.json"

    return write


@pytest.fixture
def replaced(
    bundle: Path, new: Path, service: RunningService, write_verdict: Callable[..., Path]
) -> Callable[..., None]:
    """Replaces the bundle by the new one."""

    def call(*, admitted: bool = True) -> None:
        replace(service, "tiny", new, write_verdict(admitted=admitted), bundle, "1")

    return call


def test_the_new_one_answers_and_the_old_one_is_kept(
    replaced: Callable[..., None], bundle: Path, registry: Registry
) -> None:
    old = contents(bundle)
    replaced()
    assert registry.get("tiny").manifest == read_manifest(bundle)
    assert registry.get("tiny").manifest.version == "2"
    assert contents(kept_beside(bundle)) == old
    assert names(bundle.parent) == [".mine.before", "mine"]


def test_a_model_with_an_alias(
    bundle: Path, new: Path, tmp_path: Path, write_verdict: Callable[..., Path]
) -> None:
    settings = Settings(models=[f"alias={bundle}"], threads=1, max_rows=2, admin_keys=[KEY])
    registry = Registry.load(settings)
    with (
        serve_here(create_app(settings, registry)) as (host, port),
        RunningService(f"http://{host}:{port}", KEY) as service,
    ):
        manifest = read_manifest(bundle)
        assert check_served(service, "alias", bundle, manifest).checksum == manifest.checksum
        replace(service, "alias", new, write_verdict(), bundle, "1")
        assert service.sources().keys() == {"alias"}
    assert registry.get("alias").manifest.version == "2"
    registry.close()


def test_a_verdict_that_refuses(
    replaced: Callable[..., None], bundle: Path, registry: Registry
) -> None:
    before, engine = contents(bundle), registry.get("tiny")
    with pytest.raises(WorseError, match="as it was"):
        replaced(admitted=False)
    assert contents(bundle) == before
    assert names(bundle.parent) == ["mine"]
    assert registry.get("tiny") is engine


def break_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """The new bundle is damaged on its way, so the service refuses it."""
    admit = export.admit.admit

    def damaged(new: Path, verdict: Path, out: Path) -> None:
        admit(new, verdict, out)
        flip_a_bit("tokenizer.json")(out)

    monkeypatch.setattr(export.admit, "admit", damaged)
    return (
        f"{url}: {bundle}/tokenizer.json: its SHA-256 is not the manifest's, so it was changed; "
        f"version 1 is still loaded; {bundle} is version 1 again, which the service still serves"
    )


def revoke_key(bundle: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    load = RunningService.load

    def without_key(service: RunningService, name: str) -> Loaded:
        service._http.headers["authorization"] = "Bearer old"
        return load(service, name)

    monkeypatch.setattr(RunningService, "load", without_key)
    return (
        f"{url}: this service does not know the key, or the key may not do this; DUET_ADMIN_KEY "
        f"must be one of the service's DUET_ADMIN_KEYS; {bundle} is version 1 again, which the "
        "service still serves"
    )


def stop_service(bundle: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    def unreachable(service: RunningService, *_: Any) -> Loaded:
        service.url = "http://127.0.0.1:9"
        return load(service, "tiny")

    load = RunningService.load
    monkeypatch.setattr(RunningService, "load", unreachable)
    return (
        "http://127.0.0.1:9: no service can be reached ([Errno 111] Connection refused); start "
        f"one, or name its address by URL=… (--url); {bundle} is version 1 again, which the "
        "service serves from its next start on; if it runs, make sure by curl -X POST "
        'http://127.0.0.1:9/admin/models/tiny/load -H "x-api-key: $DUET_ADMIN_KEY"'
    )


def load_another_folder(bundle: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """A service in a container whose folder is not the bundle's."""
    load = RunningService.load

    def load_old(service: RunningService, name: str) -> Loaded:
        copy = copy_bundle(kept_beside(bundle), bundle.with_name("copy"))
        body = {"folder": str(copy)}
        service._http.post(f"{url}/admin/models/tiny/load", json=body).raise_for_status()
        return load(service, name)

    monkeypatch.setattr(RunningService, "load", load_old)
    return (
        f"{url}: loads tiny from another folder than {bundle}; give the folder that it serves by "
        f"BUNDLE=… (--bundle); {bundle} is version 1 again, which the service still serves"
    )


@pytest.mark.parametrize("fault", [break_bundle, revoke_key, stop_service, load_another_folder])
def test_the_old_one_is_put_back(
    fault: Callable[..., str],
    replaced: Callable[..., None],
    bundle: Path,
    url: str,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = contents(bundle)
    expected = fault(bundle, monkeypatch, url)
    with pytest.raises(RefreshError) as raised:
        replaced()
    assert raised.value.status == 2
    assert str(raised.value) == expected
    assert contents(bundle) == before
    assert not kept_beside(bundle).exists()
    assert registry.get("tiny").manifest.version == "1"


def test_an_answer_that_was_lost_is_no_failure(
    replaced: Callable[..., None],
    bundle: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = RunningService.load

    def lose_answer(service: RunningService, name: str) -> Loaded:
        load(service, name)
        raise running_service.UnreachableError("the line is cut")

    monkeypatch.setattr(RunningService, "load", lose_answer)
    replaced()
    assert registry.get("tiny").manifest.version == "2"
    assert read_manifest(bundle).version == "2"


@pytest.mark.parametrize("interrupt", [False, True])
def test_a_load_that_takes_too_long_is_taken_back(
    interrupt: bool,
    replaced: Callable[..., None],
    bundle: Path,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The service still loads the new bundle when the command has given up."""
    going_on = threading.Event()
    load_named = registry._load_named
    before = contents(bundle)

    def load_slowly(name: str, folder: Path | None) -> Any:
        engine = load_named(name, folder)
        if engine.manifest.version == "2":
            if interrupt:
                os.kill(os.getpid(), signal.SIGINT)
            going_on.wait(30)
        return engine

    sources = RunningService.sources

    def sources_then_go_on(service: RunningService) -> Any:
        found = sources(service)
        if (bundle.parent / ".mine.before").exists():
            return found  # asked before the old bundle is put back
        going_on.set()
        return found

    monkeypatch.setattr(registry, "_load_named", load_slowly)
    monkeypatch.setattr(RunningService, "sources", sources_then_go_on)
    monkeypatch.setattr(running_service, "LOAD_SECONDS", 30 if interrupt else 2)
    if interrupt:
        with pytest.raises(KeyboardInterrupt):
            replaced()
    else:
        with pytest.raises(RefreshError) as raised:
            replaced()
        assert str(raised.value).endswith(
            f"no answer in 2 seconds; {bundle} is version 1 again, which the service serves"
        )
    assert contents(bundle) == before
    assert registry.get("tiny").manifest.version == "1"


def test_which_bundles_are_of_the_same_student(tiny_bundle: Path, tmp_path: Path) -> None:
    old = read_manifest(tiny_bundle)
    copy = copy_bundle(tiny_bundle, tmp_path / "copy", version="2")
    (copy / "MODEL_CARD.md").write_text("# Another card\n")
    assert same_student(seal(copy, read_manifest(copy)), old)
    calibration = old.calibration.model_copy(update={"temperature": 2.0})
    assert not same_student(old.model_copy(update={"calibration": calibration}), old)
    (copy / "draft.bin").write_bytes(b"0")
    assert not same_student(seal(copy, read_manifest(copy)), old)
