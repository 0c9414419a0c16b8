"""The README's figures are those of the files that they come from."""

import re

import pytest

from tests.support.server_process import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_speeds_are_those_of_the_results() -> None:
    results = (ROOT / "tests" / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- bench -->\n(.*?)<!-- /bench -->", README, re.DOTALL)
    assert block
    lines = [line for line in block[1].splitlines() if line and not line.startswith("**")]
    assert len(lines) == 10  # the machine, the case, and a table of six rows
    for line in lines:
        assert f"\n{line}\n" in results


@pytest.mark.parametrize("name", ["svamp-numbers", "svamp-operations"])
def test_an_accuracy_is_that_of_the_students_card(name: str) -> None:
    row = re.search(
        rf"^\| \[`{name}`\].*\| (\d+) test rows .*\| (\d+) % \| (\d+) % \|$", README, re.M
    )
    assert row
    card = (ROOT / "service" / "bundles" / name / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| .*\b{row[1]} test rows\b.* \| {row[2]} % \|", card, re.M)
    healthy = re.search(r"^\| healthy: .* \| (\d+\.\d) % \|$", card, re.M)
    assert healthy
    assert round(float(healthy[1])) == int(row[3])
