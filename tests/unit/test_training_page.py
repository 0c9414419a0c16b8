"""The recipe and the data section that training/README.md shows are valid."""

import re
from pathlib import Path

import yaml

from tests.conftest import ROOT
from training.config import load_config


def test_the_recipe_and_the_data_shown_are_valid(tmp_path: Path) -> None:
    text = (ROOT / "training" / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    recipe, data, _prompt = map(yaml.safe_load, blocks)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert load_config(path).task.labels == ["billing", "outage", "how-to", "cancellation"]
    path.write_text(yaml.safe_dump(recipe | data), encoding="utf-8")
    source = load_config(path).data
    assert source.filters.min_agreement == 0.6
    assert source.train_only == Path("more.jsonl")
