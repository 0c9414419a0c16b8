"""The table of a recipe's keys is made from the schema, and the page has it."""

import re

from tests.conftest import ROOT
from training.reports.recipe_keys import keys_table, recipe_keys

PAGE = ROOT / "training" / "README.md"


def test_the_page_has_the_table_of_today() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (table,) = re.findall(r"<!-- recipe-keys -->\n(.*?)\n<!-- /recipe-keys -->", text, re.DOTALL)
    assert table == keys_table(), "make recipe-keys writes it anew"


def test_every_key_says_what_it_is() -> None:
    keys = recipe_keys()
    assert all(key.description and key.values for key in keys)
    rows = {(key.name, key.values, key.default) for key in keys}
    assert {
        ("task.labels", "`open`, list, keys", "`open`"),
        ("task.labels.field", "text", "required"),
        ("data.rationales", "`teacher`, `human`", "`teacher`"),
        ("data.filters.leaks", "list", "`[]`"),
        ("model.scratch.d_model", "integer", "required"),
        ("steps", "integer", "`10000`; from scratch `2000`"),
        ("temperature", "number", "by the objective"),
    } <= rows
    # a recipe refuses the examples of a task
    assert "task.examples" not in {key.name for key in keys}


def test_a_key_that_differs_by_format_says_so() -> None:
    said = {key.values: key.description for key in recipe_keys() if key.name == "data.path"}
    assert said["path"] == "dss: folder of the archive"
    assert said["text"].startswith("hub: name of the data set")
