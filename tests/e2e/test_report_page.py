"""Reports in a real browser: nothing is asked for, nothing runs, and all can read them."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.chromium import accessible
from tests.support.made_up_reports import HOSTILE, write_report
from training.evaluate import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    for seed, name in enumerate("ab"):
        write_report(folder / name, seed)
    assert main(["--compare", f"{folder}/a", f"{folder}/b", "--out", f"{folder}/both"]) == 0
    return folder


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("name", ["a/report", "both/comparison"])
def test_a_report_opens(name: str, width: int, folder: Path, browser: Browser) -> None:
    url = (folder / f"{name}.html").as_uri()
    requests: list[str] = []
    complaints: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 900}) as tab:
        page = tab.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(url)
        assert HOSTILE.split(" | ")[0] in page.locator("article").first.inner_text()
        assert page.title() != "taken"
        for scheme, paper in (("light", "rgb(250, 249, 246)"), ("dark", "rgb(22, 25, 27)")):
            page.emulate_media(color_scheme=scheme)
            boxes = [svg.bounding_box() for svg in page.locator("svg").all()]
            assert [box["height"] > 100 for box in boxes if box] == [True] * 3
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            color = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert color == paper
            accessible(page)
        assert (requests, complaints) == ([url], [])
