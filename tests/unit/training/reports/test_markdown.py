from pathlib import Path

import pytest

from training.reports.markdown import NoBlockError, rewrite_block


def test_the_block_of_a_page_is_rewritten(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
    for text in r"one \1", "two":  # no escapes of regular expressions in it
        rewrite_block(page, "bench", text)
        assert page.read_text() == f"before\n<!-- bench -->\n{text}\n<!-- /bench -->\nafter\n"
    page.write_text("no marks")
    with pytest.raises(NoBlockError, match="has no <!-- bench -->"):
        rewrite_block(page, "bench", "three")
