import json

import pytest

from training.ablation import Ablation, Cell
from training.ablation_report import Answer, as_data, as_markdown, results

ABLATION = Ablation.model_validate(
    {
        "recipe": "recipe.yaml",
        "seeds": [0, 1],
        "splits": {"official": []},
        "arms": {"dss": {}, "mi": {}, "kl": {}},
        "comparisons": [
            {"title": "Objectives", "splits": ["official"], "baseline": "dss", "arms": ["mi", "kl"]}
        ],
    }
)


def answers(right: str, clusters: str = "abcdefgh") -> list[Answer]:
    return [
        Answer(f"question {place}", cluster, "1", "1" if one == "+" else "2", one == "+")
        for place, (cluster, one) in enumerate(zip(clusters, right, strict=False))
    ]


FOUND = {
    Cell("official", "dss", 0): answers("++------"),
    Cell("official", "dss", 1): answers("+-------"),
    Cell("official", "mi", 0): answers("+++++---"),
    Cell("official", "mi", 1): answers("+--++---"),
    Cell("official", "kl", 0): answers("+-------"),
}
MISSING = [Cell("official", "kl", 1)]


def test_accuracies_and_differences_by_hand() -> None:
    (result,) = results(ABLATION, FOUND)
    assert result.accuracies["dss"].mean == pytest.approx(3 / 16)
    assert result.accuracies["dss"].by_seed == {0: 2 / 8, 1: 1 / 8}
    assert (result.accuracies["mi"].rows, result.accuracies["mi"].clusters) == (16, 8)
    mi = result.differences["mi"]
    assert mi.estimate.mean == pytest.approx(5 / 16)
    assert mi.estimate.by_seed == {0: 3 / 8, 1: 2 / 8}
    assert mi.p == pytest.approx(2 / 8)  # rows c, d, e differ: by 1, 2 and 2, all one way
    assert mi.p_holm == pytest.approx(2 / 4)
    assert mi.estimate.low is not None
    assert 0 <= mi.estimate.low < 5 / 16


def test_only_seeds_that_both_have_are_compared() -> None:
    (result,) = results(ABLATION, FOUND)
    kl = result.differences["kl"]
    assert kl.estimate.by_seed == {0: -1 / 8}
    assert kl.estimate.rows == 8
    assert (kl.p, kl.p_holm) == (1, 1)


def test_clusters_are_counted_once() -> None:
    found = {
        Cell("official", "dss", 0): answers("++------", "aabbccdd"),
        Cell("official", "mi", 0): answers("++++++--", "aabbccdd"),
    }
    (result,) = results(ABLATION, found)
    mi = result.differences["mi"]
    assert (mi.estimate.rows, mi.estimate.clusters) == (8, 4)
    assert mi.p == pytest.approx(2 / 4)  # the clusters b and c


def test_the_markdown_tells_what_is_missing() -> None:
    text = as_markdown(results(ABLATION, FOUND), 6, MISSING)
    assert text.startswith("5 of 6 students.\n\n**Objectives, official split**\n\n16 answers in 8 ")
    (line,) = (line for line in text.splitlines() if line.startswith("| mi |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1] == "50.0"
    assert cells[3:5] == ["62.5, 37.5", "+31.2"]
    assert cells[6:] == ["+37.5, +25.0", "0.250", "0.500"]
    assert text.endswith("Not there yet: official/kl/seed-1.")


def test_the_data_can_be_written() -> None:
    data = json.loads(json.dumps(as_data(results(ABLATION, FOUND), MISSING)))
    assert data["missing"] == ["official/kl/seed-1"]
    assert data["results"][0]["differences"]["mi"]["estimate"]["by_seed"] == {"0": 0.375, "1": 0.25}


def test_nothing_yet() -> None:
    (result,) = results(ABLATION, {})
    assert not result.accuracies
    assert "Nothing yet." in as_markdown([result], 6, ABLATION.cells())
