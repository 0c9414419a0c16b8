import json
from dataclasses import replace

import pytest

from tasks.task import Task
from tests.support.prediction_records import record
from training.evaluation.ablation import Ablation, Cell
from training.reports.ablation import Found, as_data, as_markdown, results

ABLATION = Ablation.model_validate(
    {
        "seeds": [0, 1],
        "datasets": {"sums": {"recipe": "recipe.yaml"}},
        "arms": {"dss": {}, "mi": {}, "kl": {}},
        "comparisons": [
            {"title": "Objectives", "datasets": ["sums"], "baseline": "dss", "arms": ["mi", "kl"]}
        ],
    }
)

TASK = Task(name="task", fields=["text"], template="{{text}}", labels=["yes", "no"])


def answers(right: str, clusters: str = "abcdefgh", mi_bound: float | None = 1.5) -> Found:
    """Of a student that gives its label for a reason wherever it is wrong."""
    rows = [
        record(
            place,
            one == "+",
            cluster=cluster,
            rationale="A reason." if one == "+" else "no",
            reference="A reason.",
        )
        for place, (cluster, one) in enumerate(zip(clusters, right, strict=False))
    ]
    return Found(TASK, rows, mi_bound)


FOUND = {
    Cell("sums", "dss", 0): answers("++------"),
    Cell("sums", "dss", 1): answers("+-------"),
    Cell("sums", "mi", 0): answers("+++++---"),
    Cell("sums", "mi", 1): answers("+--++---"),
    Cell("sums", "kl", 0): answers("+-------"),
}
MISSING = [Cell("sums", "kl", 1)]


def test_accuracies_and_differences_by_hand() -> None:
    (result,) = results(ABLATION, FOUND)
    assert result.right.estimates["dss"].mean == pytest.approx(3 / 16)
    assert result.right.estimates["dss"].by_seed == {0: 2 / 8, 1: 1 / 8}
    assert (result.right.estimates["mi"].rows, result.right.estimates["mi"].clusters) == (16, 8)
    mi = result.right.differences["mi"]
    assert mi.estimate.mean == pytest.approx(5 / 16)
    assert mi.estimate.by_seed == {0: 3 / 8, 1: 2 / 8}
    assert mi.p == pytest.approx(2 / 8)  # rows c, d, e differ: by 1, 2 and 2, all one way
    assert mi.p_holm == pytest.approx(2 / 4)
    assert mi.estimate.low < 0 < 5 / 16 < mi.estimate.high  # as p says


def test_only_seeds_that_both_have_are_compared() -> None:
    (result,) = results(ABLATION, FOUND)
    kl = result.right.differences["kl"]
    assert kl.estimate.by_seed == {0: -1 / 8}
    assert kl.estimate.rows == 8
    assert (kl.p, kl.p_holm) == (1, 1)


def test_clusters_are_counted_once() -> None:
    found = {
        Cell("sums", "dss", 0): answers("++------", "aabbccdd"),
        Cell("sums", "mi", 0): answers("++++++--", "aabbccdd"),
    }
    (result,) = results(ABLATION, found)
    mi = result.right.differences["mi"]
    assert (mi.estimate.rows, mi.estimate.clusters) == (8, 4)
    assert mi.p == pytest.approx(2 / 4)  # the clusters b and c


def test_health_and_information_by_hand() -> None:
    (result,) = results(ABLATION, FOUND)
    assert result.healthy.estimates["dss"].mean == pytest.approx(3 / 16)
    assert result.shares["dss"]["bare_label"] == pytest.approx(13 / 16)
    assert result.shares["dss"]["reference"] == pytest.approx(3 / 16)
    assert result.shares["dss"]["glued"] == 0
    assert result.healthy.differences["mi"].p_holm == pytest.approx(2 / 4)
    assert result.mi_bounds == {"dss": 1.5, "mi": 1.5, "kl": 1.5}
    # that of the seeds that have one
    unknown = FOUND | {Cell("sums", "mi", 1): answers("+--++---", mi_bound=None)}
    unknown |= {Cell("sums", "kl", 0): answers("+-------", mi_bound=None)}
    assert results(ABLATION, unknown)[0].mi_bounds == {"dss": 1.5, "mi": 1.5, "kl": None}


def test_the_markdown_tells_what_is_missing() -> None:
    text = as_markdown(results(ABLATION, FOUND), 6, MISSING)
    assert text.startswith("5 of 6 students.\n\n**Objectives: sums**\n\n16 answers in 8 clusters.")
    labels, rationales = (line for line in text.splitlines() if line.startswith("| mi |"))
    cells = [cell.strip() for cell in labels.strip("|").split("|")]
    assert cells[1] == "50.0"
    assert cells[3] == "+31.2"
    assert cells[5:] == ["0.500", "62.5, 37.5"]
    cells = [cell.strip() for cell in rationales.strip("|").split("|")]
    assert cells[1] == "50.0"
    assert cells[6:] == ["50.0", "0.0", "0.0", "0.0", "0.0", "50.0", "1.50"]
    assert text.endswith("Not there yet: sums/kl/seed-1.")


def test_the_data_can_be_written() -> None:
    data = json.loads(json.dumps(as_data(results(ABLATION, FOUND), MISSING)))
    assert data["missing"] == ["sums/kl/seed-1"]
    (result,) = data["results"]
    assert result["right"]["differences"]["mi"]["estimate"]["by_seed"] == {"0": 0.375, "1": 0.25}


def test_nothing_yet() -> None:
    (result,) = results(ABLATION, {})
    assert not result.right.estimates
    assert "Nothing yet." in as_markdown([result], 6, ABLATION.cells())


def test_an_arm_that_does_not_explain_has_no_rationales_to_compare() -> None:
    plain = [replace(one, rationale=None) for one in answers("++++----").records]
    found = FOUND | {Cell("sums", "kl", 0): Found(TASK, plain, None)}
    (result,) = results(ABLATION, found)
    assert result.right.estimates["kl"].mean == pytest.approx(4 / 8)
    assert result.healthy.estimates.keys() == result.shares.keys() == {"dss", "mi"}
    text = as_markdown([result], 6, MISSING)
    assert text.count("| kl |") == 1
    alone = {cell: Found(TASK, plain, None) for cell in FOUND}
    assert "healthy" not in as_markdown(results(ABLATION, alone), 6, MISSING)
