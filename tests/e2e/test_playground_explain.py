"""The page's switch for rationales, with a model that explains and one that does not."""

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.support.chromium import accessible, ask, finished, open_page
from tests.support.server_process import serve


def test_a_model_without_rationales_cannot_be_asked_to_explain(
    browser: Browser, tiny_bundle: Path, labels_only_bundle: Path, tmp_path: Path
) -> None:
    models = f"{tiny_bundle},{labels_only_bundle}"
    with (
        serve(tmp_path / "log", "--models", models, "--threads", "1") as server,
        open_page(browser, server.url) as page,
    ):
        toggle, note = page.get_by_label("Explain the answer"), page.locator("#explain-note")
        expect(toggle).to_be_checked()
        page.get_by_label("Model").select_option("plain")
        expect(toggle).to_be_disabled()
        expect(toggle).not_to_be_checked()
        expect(note).to_contain_text("trained without rationales, so it gives labels only.")
        accessible(page)
        ask(page)
        finished(page)
        expect(page.locator("#label")).not_to_be_empty()
        expect(page.locator("#rationale-part")).to_be_hidden()
        page.get_by_label("Model").select_option("tiny")
        expect(toggle).to_be_enabled()
        expect(toggle).to_be_checked()
        expect(note).to_contain_text("The model writes a rationale in a second pass.")
        toggle.uncheck()
        page.get_by_label("Model").select_option("plain")
        page.get_by_label("Model").select_option("tiny")
        expect(toggle).not_to_be_checked()
