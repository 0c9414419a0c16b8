from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.support.ablation_data import main as write_data
from training.data.splits import load_splits
from training.evaluation.ablation import Ablation, Cell, load_ablation, shuffle_rationales
from training.student.files import Example
from training.yaml_files import ConfigError

PLAN = ROOT / "training" / "ablations" / "objectives.yaml"


def plan(folder: Path, **changes: object) -> Path:
    """A plan beside the recipe of the word problems."""
    recipe = str(ROOT / "tests" / "support" / "recipes" / "word-problems.yaml")
    content = {
        "seeds": [0, 1],
        "datasets": {
            "sums": {"recipe": recipe},
            "large": {"recipe": recipe, "changes": ["validation_rows=200"]},
        },
        "arms": {"dss": {"changes": ["objective=dss"]}, "mi": {}, "half": {"shuffle": 0.5}},
        "comparisons": [
            {"title": "A", "datasets": ["sums"], "baseline": "dss", "arms": ["mi"]},
            {"title": "B", "datasets": ["sums", "large"], "baseline": "mi", "arms": ["half"]},
        ],
    }
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(content | changes, sort_keys=False), encoding="utf-8")
    return path


def test_what_two_comparisons_share_is_one_cell_and_seeds_come_first(tmp_path: Path) -> None:
    cells = load_ablation(plan(tmp_path)).cells()
    assert [str(cell) for cell in cells] == [
        f"{cell}/seed-{seed}"
        for seed in (0, 1)
        for cell in ("sums/dss", "sums/mi", "sums/half", "large/mi", "large/half")
    ]


def test_a_cell_is_the_recipe_with_the_changes_of_its_data_set_its_arm_and_its_seed(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "it's: odd"
    config = load_ablation(plan(tmp_path)).config(Cell("large", "dss", 1), folder)
    assert (config.validation_rows, config.objective, config.seed) == (200, "dss", 1)
    assert (config.steps, config.output_dir) == (150, folder)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"seeds": []}, "seeds: "),
        ({"arms": {"../dss": {}}}, "arms.../dss: "),
        ({"arms": {"dss": {"shuffle": 2}}}, "arms.dss.shuffle: "),
        ({"arms": {"dss": {}}}, "comparisons: A: 'mi' is none of the arms"),
        ({"datasets": {"sums": {"recipe": "a.yaml"}}}, "B: 'large' is none of the datasets"),
        ({"datasets": {"sums": {}}}, "datasets.sums.recipe: missing"),
        ({"colour": "red"}, "colour: "),
        (
            {
                "comparisons": [
                    {"title": "A", "datasets": ["large"], "baseline": "mi", "arms": ["mi"]}
                ]
            },
            "the baseline mi is one of its arms",
        ),
    ],
)
def test_a_wrong_plan_is_refused(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    path = plan(tmp_path, **changes)
    with pytest.raises(ConfigError) as caught:
        load_ablation(path)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)


def examples(count: int) -> list[Example]:
    """Every third one without a rationale."""
    return [
        Example({"text": f"q{place}"}, f"a{place}", f"r{place}" if place % 3 else None)
        for place in range(count)
    ]


@pytest.mark.parametrize(("share", "moved"), [(0, 0), (0.25, 10), (0.5, 20), (1, 40)])
def test_a_share_of_the_rationales_moves(share: float, moved: int) -> None:
    rows = examples(60)  # 40 of them with one
    shuffled = shuffle_rationales(rows, share, seed=3)
    assert sum(one != other for one, other in zip(rows, shuffled, strict=True)) == moved
    assert [(row.input, row.label) for row in shuffled] == [(row.input, row.label) for row in rows]
    assert [row.rationale is None for row in shuffled] == [row.rationale is None for row in rows]
    assert sorted(row.rationale or "" for row in shuffled) == sorted(
        row.rationale or "" for row in rows
    )
    assert shuffled == shuffle_rationales(rows, share, seed=3)


def test_other_seeds_move_others() -> None:
    rows = examples(60)
    assert shuffle_rationales(rows, 0.5, seed=0) != shuffle_rationales(rows, 0.5, seed=1)


def test_the_plan_that_comes_along(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ablation: Ablation = load_ablation(PLAN)
    cells = ablation.cells()
    # 4 objectives on 6 data sets, the published one on 2, 7 arms more on the tickets, 2 on SVAMP
    assert len(cells) == 3 * (4 * 6 + 2 + 7 + 2)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dss").symlink_to(real_data / "dss")
    monkeypatch.chdir(tmp_path)
    assert write_data(Path("data/dss"), Path("data/ablation")) == 0
    tests = {}
    for cell in cells:
        if cell.arm in ("dss", "shuffled-50"):
            splits = load_splits(ablation.config(cell, tmp_path))
            assert len(splits.train) >= 400
            assert len(splits.validation) >= 80
            assert len(splits.test) >= 95
            tests[cell] = splits.test
    for dataset in ablation.datasets:
        of_seeds = [tests[Cell(dataset, "dss", seed)] for seed in ablation.seeds]
        assert (of_seeds[0] == of_seeds[1]) == (dataset != "svamp")  # whose test rows are drawn
    assert tests[Cell("svamp", "shuffled-50", 1)] == tests[Cell("svamp", "dss", 1)]
