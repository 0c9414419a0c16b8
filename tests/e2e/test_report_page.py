"""Reports in a real browser: nothing is asked for, nothing runs, and all can read them."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browsers import accessible
from tests.reports import HOSTILE, write_report
from training.evaluate import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    for seed, name in enumerate("ab"):
        write_report(folder / name, seed)
    assert main(["--compare", f"{folder}/a", f"{folder}/b", "--out", f"{folder}/both"]) == 0
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize(("name", "plots"), [("a/report", 3), ("both/comparison", 3)])
def test_a_report_opens(
    name: str, plots: int, width: int, scheme: str, folder: Path, browser: Browser
) -> None:
    url = (folder / f"{name}.html").as_uri()
    requests: list[str] = []
    complaints: list[str] = []
    size = {"width": width, "height": 900}
    with browser.new_context(viewport=size, color_scheme=scheme) as tab:
        page = tab.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(url)
        assert (requests, complaints) == ([url], [])
        assert HOSTILE.split(" | ")[0] in page.locator("article").first.inner_text()
        assert page.title() != "taken"
        assert page.locator("svg").count() == plots
        assert all(
            box["height"] > 100 for svg in page.locator("svg").all() if (box := svg.bounding_box())
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(22, 25, 27)") == (scheme == "dark")
        accessible(page)
