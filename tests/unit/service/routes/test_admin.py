import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from export.bundle import MANIFEST
from export.verify import read_manifest, seal
from service.app import create_app
from service.registry import Registry
from service.settings import Settings
from tests.support.bundles import copy_bundle, reference
from tests.support.corrupt_bundles import TAMPERINGS, truncate
from tests.support.tiny_students import Student, problems

TEXT = problems(1)[0]
KEY = {"x-api-key": "secret"}


@pytest.fixture
def folder(drafting_bundle: Path, tmp_path: Path) -> Path:
    return copy_bundle(drafting_bundle, tmp_path / "models" / "tiny")


@pytest.fixture
def admin(folder: Path) -> Iterator[TestClient]:
    settings = Settings(models=[folder.parent], threads=1, max_rows=2, admin_keys=["secret"])
    with TestClient(create_app(settings, Registry.load(settings)), headers=KEY) as client:
        yield client


def change(folder: Path, **changes: Any) -> None:
    seal(folder, read_manifest(folder).model_copy(update=changes))


def test_a_changed_bundle_replaces_the_old_one(
    admin: TestClient, folder: Path, student: Student
) -> None:
    change(folder, version="2")
    assert admin.get("/models/tiny").json()["version"] == "1"
    response = admin.post("/admin/models/tiny/load")
    assert response.status_code == 200
    assert response.json() == admin.get("/models/tiny").json()
    assert response.json()["version"] == "2"
    answer = admin.post("/predict", json={"inputs": TEXT}).json()
    assert (answer["version"], answer["label"]) == ("2", reference(student, TEXT).label.text)


def test_a_bundle_comes_from_another_folder(admin: TestClient, folder: Path) -> None:
    other = copy_bundle(folder, folder.parent / "tiny-2", version="2")
    response = admin.post("/admin/models/tiny/load", json={"folder": str(other)})
    assert (response.status_code, response.json()["version"]) == (200, "2")
    assert admin.post("/admin/models/tiny/load", json={}).json()["version"] == "2"


def test_a_new_model_is_found_by_its_name(admin: TestClient, folder: Path) -> None:
    copy_bundle(folder, folder.parent / "new", name="other")
    assert admin.post("/predict", json={"inputs": TEXT, "model": "other"}).status_code == 404
    assert admin.post("/admin/models/other/load").json()["default"] is False
    assert admin.post("/predict", json={"inputs": TEXT, "model": "other"}).status_code == 200
    assert [model["name"] for model in admin.get("/models").json()] == ["tiny", "other"]


def test_where_models_come_from(admin: TestClient, folder: Path) -> None:
    checksum = read_manifest(folder).checksum
    new = copy_bundle(folder, folder.parent / "new", name="other")
    truncate(MANIFEST)(copy_bundle(folder, folder.parent / "broken", name="broken"))
    change(folder, version="2")  # which is not loaded yet
    tiny = {"name": "tiny", "folder": str(folder), "version": "1", "checksum": checksum}
    other = {"name": "other", "folder": str(new), "version": None, "checksum": None}
    assert admin.get("/admin/models").json() == [tiny, other]
    admin.post("/admin/models/tiny/unload")
    assert admin.get("/admin/models").json() == [tiny | {"version": None, "checksum": None}, other]
    shutil.rmtree(folder.parent)
    (source,) = admin.get("/admin/models").json()
    assert source["name"] == "tiny"


def test_an_unloaded_model_does_not_answer_before_it_is_loaded_again(admin: TestClient) -> None:
    response = admin.post("/admin/models/tiny/unload")
    assert (response.status_code, response.json()) == (200, {"name": "tiny", "version": "1"})
    assert admin.get("/models").json() == []
    assert admin.get("/livez").status_code == 200
    assert admin.get("/readyz").status_code == 503
    assert admin.get("/readyz").json()["error"].startswith("no model is loaded")
    for request in ({"inputs": TEXT}, {"inputs": TEXT, "model": "tiny"}):
        response = admin.post("/predict", json=request)
        assert (response.status_code, response.json()["error_type"]) == (404, "model_not_found")
        assert response.json()["error"] == "model 'tiny': not loaded; this service has none"
    assert admin.post("/admin/models/tiny/unload").status_code == 404
    assert admin.post("/admin/models/tiny/load").json()["default"] is True
    assert admin.post("/predict", json={"inputs": TEXT}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("nobody/load", None, 404, "model 'nobody': no bundle has this name"),
        ("nobody/unload", None, 404, "model 'nobody': unknown; this service has tiny"),
        ("tiny/load", {"folder": "/etc"}, 422, "/etc: not in the folders that models may come"),
        ("tiny/load", {"folder": "\0"}, 422, "embedded null byte; version 1 is still loaded"),
        ("tiny/load", {"folder": 5}, 422, "folder: Input is not a valid path"),
        ("tiny/load", {"path": "a"}, 422, "path: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_done_says_why(
    admin: TestClient, path: str, body: object, status: int, error: str
) -> None:
    response = admin.post(f"/admin/models/{path}", json=body)
    assert response.status_code == status
    assert response.json()["error"].startswith(error)
    assert admin.post("/predict", json={"inputs": TEXT}).status_code == 200


def test_a_folder_that_is_no_path(admin: TestClient) -> None:
    response = admin.post("/admin/models/tiny/load", content=b'{"folder": "\\ud800"}')
    assert response.status_code == 422
    assert admin.post("/predict", json={"inputs": TEXT}).status_code == 200


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampered_bundle_does_not_replace_the_one_that_serves(
    admin: TestClient, folder: Path, student: Student, name: str
) -> None:
    change(folder, version="2")
    tamper, message = TAMPERINGS[name]
    tamper(folder)
    response = admin.post("/admin/models/tiny/load")
    assert (response.status_code, response.json()["error_type"]) == (422, "model_refused")
    assert re.search(rf"{message}.*; version 1 is still loaded$", response.json()["error"])
    answer = admin.post("/predict", json={"inputs": TEXT}).json()
    assert (answer["version"], answer["label"]) == ("1", reference(student, TEXT).label.text)


@pytest.mark.parametrize(
    ("settings", "headers", "status", "error"),
    [
        ({}, {}, 403, "this service has no admin keys; set some with DUET_ADMIN_KEYS"),
        ({}, KEY, 403, "this service has no admin keys; set some with DUET_ADMIN_KEYS"),
        ({"admin_keys": "secret"}, {}, 401, "a key is needed"),
        (
            {"admin_keys": "secret"},
            {"x-api-key": "guess"},
            403,
            "this service does not know the key",
        ),
        (
            {"admin_keys": "secret", "api_keys": "user"},
            {"x-api-key": "user"},
            403,
            "this service does not know the key",
        ),
    ],
)
@pytest.mark.parametrize("action", ["load", "unload"])
def test_only_admins_may(
    tiny_bundle: Path, settings: Any, headers: Any, status: int, error: str, action: str
) -> None:
    settings = Settings(models=[tiny_bundle], threads=1, max_rows=2, **settings)
    registry = Registry.load(settings)
    engine = registry.default
    with TestClient(create_app(settings, registry), headers=headers) as client:
        for response in (
            client.get("/admin/models"),
            client.post(f"/admin/models/tiny/{action}"),
        ):
            assert response.status_code == status
            assert response.json()["error"].startswith(error)
        assert registry.default is engine
