import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from export.bundle import GOLDEN, MANIFEST, TOKENIZER, BundleError
from export.verify import read_manifest, seal
from service.engine.engine import Engine
from service.engine.prediction import Prediction, PredictRequest
from service.errors import ModelNotFound, ModelRefused
from service.registry import Registry
from service.settings import Settings
from tests.support.bundles import copy_bundle, reference, write_bundle
from tests.support.corrupt_bundles import flip_a_bit, truncate
from tests.support.tiny_students import Student, problems


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
    ((_, admission),) = registry.served()
    assert (admission.max_inputs, admission.timeout) == (7, 3.0)
    registry.close()


def test_a_folder_of_bundles_is_as_good_as_each_of_them(tiny_bundle: Path, tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        copy_bundle(tiny_bundle, tmp_path / name, name=name.strip("."))
    (tmp_path / "notes.txt").write_text("not a bundle")
    (tmp_path / "empty").mkdir()
    for folders, names in (((tmp_path,), ["a", "b"]), ((tmp_path / "b", tmp_path), ["b", "a"])):
        registry = load(*folders)
        assert [engine.manifest.name for engine in registry] == names
        assert registry.default_name == names[0]
        registry.close()


def test_one_bad_bundle_and_nothing_stays_loaded(tiny_bundle: Path, tmp_path: Path) -> None:
    before = engine_threads()
    with pytest.raises(BundleError, match="not a bundle"):
        load(tiny_bundle, tmp_path)
    shutil.copytree(tiny_bundle, tmp_path / "copy")
    flip_a_bit(TOKENIZER)(tmp_path / "copy")
    with pytest.raises(BundleError, match=r"tokenizer\.json: its SHA-256"):
        load(tiny_bundle, Path(f"other={tmp_path / 'copy'}"))
    assert engine_threads() == before


def test_a_name_that_is_taken_needs_an_alias(tiny_bundle: Path, tmp_path: Path) -> None:
    copy = copy_bundle(tiny_bundle, tmp_path / "copy", version="2")
    with pytest.raises(BundleError) as raised:
        load(tiny_bundle, copy)
    said, _, advice = str(raised.value).partition(": --models ")
    assert said == (
        f"{copy}: named tiny, as the bundle in {tiny_bundle} is; give one of them another name"
    )
    registry = load(*map(Path, advice.split(",")))  # as the message says
    assert {engine.manifest.name: engine.manifest.version for engine in registry} == {
        "tiny": "1",
        "tiny-2": "2",
    }
    assert registry.get("tiny-2").manifest.checksum == read_manifest(copy).checksum
    registry.close()


def test_an_alias_is_loaded_and_reloaded_as_any_name(folder: Path, tiny_bundle: Path) -> None:
    copy_bundle(tiny_bundle, folder / "second", version="7")
    registry = load(folder, Path(f"other={folder / 'second'}"))  # which the folder has, too

    def versions() -> dict[str, str]:
        return {engine.manifest.name: engine.manifest.version for engine in registry}

    assert versions() == {"tiny": "1", "other": "7"}
    asyncio.run(registry.reload_changed())
    other = registry.get("other")
    change(folder / "second", "8")
    asyncio.run(registry.reload_changed())
    assert registry.get("other") is not other
    assert versions() == {"tiny": "1", "other": "8"}
    change(folder / "second", "9")
    asyncio.run(registry.load_model("other"))
    assert versions() == {"tiny": "1", "other": "9"}
    with pytest.raises(ModelRefused, match="tiny: named tiny, not other; version 9 is still"):
        asyncio.run(registry.load_model("other", folder / "tiny"))
    asyncio.run(registry.unload_model("other"))
    asyncio.run(registry.load_model("other"))
    assert versions() == {"tiny": "1", "other": "9"}
    registry.close()


def test_speculation_can_be_switched_off(tiny_bundle: Path) -> None:
    for speculate in (True, False):
        registry = Registry.load(
            Settings(models=[tiny_bundle], threads=1, max_rows=2, speculate=speculate)
        )
        assert (registry.default.drafted > 0) == speculate  # at the golden examples
        registry.close()


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A folder of models, in which tiny is."""
    copy_bundle(tiny_bundle, tmp_path / "models" / "tiny")
    return tmp_path / "models"


@pytest.fixture
def registry(folder: Path) -> Iterator[Registry]:
    registry = load(folder)
    yield registry
    registry.close()


def change(folder: Path, version: str) -> None:
    seal(folder, read_manifest(folder).model_copy(update={"version": version}))


def test_requests_finish_on_the_engine_that_they_began_on(
    registry: Registry, folder: Path, student: Student
) -> None:
    change(folder / "tiny", "2")
    text = problems(1)[0]

    async def replace_meanwhile() -> tuple[Prediction, Prediction]:
        async with registry.admit("tiny", 1) as old:
            replacing = asyncio.create_task(registry.load_model("tiny"))
            while registry.get("tiny") is old:
                await asyncio.sleep(0.01)
            async with registry.admit("tiny", 1) as new:
                from_new = await new.predict(PredictRequest(text))
            from_old = await old.predict(PredictRequest(text))
            assert not replacing.done()
        assert await replacing is new
        assert not old.alive
        return from_old, from_new

    predictions = asyncio.run(replace_meanwhile())
    assert [prediction.model.version for prediction in predictions] == ["1", "2"]
    expected = reference(student, text).label.text
    assert [prediction.label for prediction in predictions] == [expected] * 2


def test_an_unloaded_model_finishes_its_requests_and_can_come_back(registry: Registry) -> None:
    async def come_and_go() -> None:
        async with registry.admit(None, 1) as engine:
            unloading = asyncio.create_task(registry.unload_model("tiny"))
            await asyncio.sleep(0)
            await engine.predict(PredictRequest("Ann"))
            assert not unloading.done()
        await unloading
        assert not engine.alive
        for name in (None, "tiny"):
            with pytest.raises(ModelNotFound, match="'tiny': not loaded; this service has none"):
                registry.get(name)
        with pytest.raises(ModelNotFound):
            await registry.unload_model("tiny")
        loaded = await registry.load_model("tiny")
        assert registry.default is loaded is not engine

    asyncio.run(come_and_go())


def test_what_cannot_be_loaded_changes_nothing(
    registry: Registry, folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    before, threads = registry.get("tiny"), engine_threads()
    (folder / "link").symlink_to(tiny_bundle)
    copy_bundle(tiny_bundle, folder / "nested" / "other", name="other")
    copy_bundle(tiny_bundle, tmp_path / "outside")
    wrong = copy_bundle(tiny_bundle, folder / "wrong")
    golden = json.loads((wrong / GOLDEN).read_text())
    golden[0]["label"] = "another"
    (wrong / GOLDEN).write_text(json.dumps(golden))
    seal(wrong, read_manifest(wrong))
    for path, message in (
        (tmp_path / "outside", "outside: not in the folders that models may come from"),
        (folder / ".." / "outside", "outside: not in the folders"),
        (folder / "link", "link: not in the folders"),
        (folder / "nested" / "other", "other: named other, not tiny"),
        (folder / "nowhere", "nowhere: not a bundle"),
        (folder / "nested", "nested: not a bundle"),
        (wrong, r"golden\.json: .* must give the label 'another'"),
        (folder / "a\0b", "null byte"),
        (folder / ("a" * 1000), "File name too long"),
    ):
        with pytest.raises(ModelRefused, match=rf"{message}.*; version 1 is still loaded"):
            asyncio.run(registry.load_model("tiny", path))
        assert registry.get("tiny") is before
    with pytest.raises(ModelNotFound, match="'nobody': no bundle has this name"):
        asyncio.run(registry.load_model("nobody"))
    assert engine_threads() == threads
    asyncio.run(before.predict(PredictRequest("Ann")))


def test_models_are_loaded_one_at_a_time(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, loading = engine_threads(), 0
    load_engine = Engine.load

    def load_alone(*args: Any, **settings: Any) -> Engine:
        nonlocal loading
        loading += 1
        assert loading == 1
        engine = load_engine(*args, **settings)
        loading -= 1
        return engine

    monkeypatch.setattr(Engine, "load", load_alone)

    async def load_at_once() -> list[Engine]:
        return await asyncio.gather(*(registry.load_model("tiny") for _ in range(4)))

    engines = asyncio.run(load_at_once())
    assert [engine.alive for engine in engines] == [False, False, False, True]
    assert registry.default is engines[-1]
    assert engine_threads() == threads


def test_what_changed_is_reloaded(
    folder: Path, tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("same", "gone", "broken"):
        copy_bundle(tiny_bundle, folder / name, name=name)
    registry = load(folder)
    asyncio.run(registry.unload_model("gone"))
    same, broken = registry.get("same"), registry.get("broken")
    copy_bundle(tiny_bundle, folder / "new", name="new")
    copy_bundle(tiny_bundle, folder / "second", version="7")  # named tiny too
    for name in ("tiny", "gone", "broken"):
        change(folder / name, "2")
    flip_a_bit(TOKENIZER)(folder / "broken")
    truncate(MANIFEST)(copy_bundle(tiny_bundle, folder / "unreadable"))
    asyncio.run(registry.reload_changed())
    assert {engine.manifest.name: engine.manifest.version for engine in registry} == {
        "broken": "1",
        "new": "1",
        "same": "1",
        "tiny": "2",
    }
    assert registry.get("same") is same
    assert registry.get("broken") is broken
    assert "tokenizer.json: its SHA-256 is not" in caplog.text
    assert "manifest.json: not JSON" in caplog.text
    assert "second is left alone: tiny comes from" in caplog.text
    registry.close()


def test_a_bundle_may_be_overwritten_while_it_is_served(
    folder: Path, drafting_bundle: Path, student: Student
) -> None:
    shutil.copytree(drafting_bundle, folder / "tiny", dirs_exist_ok=True)
    registry = load(folder)
    for path in (folder / "tiny").iterdir():
        path.write_bytes(b"")  # in place, as cp does
    text = problems(1)[0]
    prediction = asyncio.run(registry.default.predict(PredictRequest(text, explain=True)))
    assert (prediction.label, prediction.rationale) == (
        reference(student, text).label.text,
        reference(student, text).rationale.text,
    )
    registry.close()
