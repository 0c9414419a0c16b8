import re

import pytest
from fastapi.testclient import TestClient

from service.routes.page import web


def test_the_page_is_made_of_files_that_are_there(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    files = re.findall(r'(?:src|href)="(web/[^"]+)"', page.text)
    assert {"web/page.css", "web/page.js", "web/theme.js", "web/icon.svg"} <= set(files)
    for file in files:
        assert client.get(f"/{file}").status_code == 200


@pytest.mark.parametrize("path", ["/", "/web/page.js"])
def test_headers(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.headers["cache-control"] == "no-cache"
    if path == "/":
        assert "unsafe" not in response.headers["content-security-policy"]
    again = client.get(path, headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304
    assert again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path", ["/web/", "/web/nothing.js", "/web/../app.py", "/web/%2e%2e/app.py"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.json()["error_type"] == "not_found"


def test_all_that_is_packaged() -> None:
    assert {path.suffix for path in web.directory.iterdir()} == {".html", ".css", ".js", ".svg"}
