import json
from pathlib import Path

import pytest

from examples.word_problems.operations import OPERATIONS, main, operation
from tests.support.simple_problems import distillation
from training.config import load_config
from training.data.splits import load_splits


@pytest.mark.parametrize(
    ("equation", "expected"),
    [
        ("( 84.0 / 2.0 )", "division"),
        ("( 3.0 + 4.0 )", "addition"),
        ("3 - 4", "subtraction"),
        ("( 3.0 * -4.0 )", "multiplication"),
        ("( ( 3.0 + 4.0 ) * 2.0 )", "several steps"),
    ],
)
def test_the_operation_of_an_equation(equation: str, expected: str) -> None:
    assert operation(equation) == expected
    assert expected in OPERATIONS


@pytest.mark.parametrize("equation", ["", "7.0", "a b", "2 ** 3", "( 3.0 +"])
def test_what_has_no_operation_is_refused(equation: str) -> None:
    with pytest.raises(ValueError, match="an equation"):
        operation(equation)


def test_the_rows_of_a_recipe_get_operations_as_labels(tmp_path: Path) -> None:
    recipe, *overrides = distillation(tmp_path)
    assert main([recipe, *overrides, "--out", str(tmp_path / "out")]) == 0
    splits = load_splits(load_config(Path(recipe), overrides))
    for name in ("train", "validation", "test"):
        lines = (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()
        examples = getattr(splits, name)
        assert [json.loads(line) for line in lines] == [
            {**one.input, "label": operation(one.label), "rationale": one.rationale}
            for one in examples
        ]


def test_a_recipe_that_cannot_be_read_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.yaml"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("operations: ")
