"""What is told of the embedded student is what the command finds."""

import re
from pathlib import Path

from tests.evaluations import evaluated
from tests.servers import ROOT
from training.report import read_evaluation

BUNDLE = ROOT / "service" / "bundles" / "svamp-mini"
RECIPE = ROOT / "training" / "recipes" / "svamp-mini.yaml"


def test_its_figures_are_those_of_its_card_and_of_readme(real_data: Path, tmp_path: Path) -> None:
    card = (BUNDLE / "MODEL_CARD.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    recipe = ["--recipe", RECIPE, f"data.path={real_data / 'dss'}"]
    for split in ("validation", "test"):
        evaluated(tmp_path / split, BUNDLE, *recipe, "--split", split)
        found = read_evaluation(tmp_path / split).evaluation.accuracy
        right, exact = found.right.value, found.exact.value
        assert f"| {split} | accuracy {right:.2f}, exact {exact:.2f}, rows {found.rows} |" in card
        (cells,) = re.findall(rf"\| 100 {split} rows, .* \| (\d+) % \| (\d+) % \|\n", readme)
        assert [int(cell) / 100 for cell in cells] == [right, exact]
        page = (tmp_path / split / "report.html").read_text(encoding="utf-8")
        verdict = f"The model is right on {100 * right:.1f}\N{NO-BREAK SPACE}% of {found.rows} rows"
        assert verdict in page
