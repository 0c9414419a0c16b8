"""A real browser, and what readers do with the page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.server_process import TIMEOUT

expect.set_options(timeout=TIMEOUT * 1000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:  # as root, Chromium runs without its sandbox alone
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """A page that must not send requests to other hosts, or break its scripts or its policy."""
    hosts, complaints = set(), []
    with browser.new_context(**context) as tab:
        page = tab.new_page()
        page.set_default_timeout(TIMEOUT * 1000)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(url)
        yield page
    assert hosts == {urlsplit(url).netloc}
    assert [text for text in complaints if "Failed to load resource" not in text] == []


def ask(page: Page) -> None:
    page.get_by_role("button", name="Ask").click()


def finished(page: Page) -> None:
    expect(page.get_by_role("region", name="Answer")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_role("button", name="Ask")).to_be_visible()


def accessible(page: Page) -> None:
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
