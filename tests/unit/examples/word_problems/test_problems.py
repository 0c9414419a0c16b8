import json
import random
import re
from pathlib import Path

import pytest

from examples.word_problems.__main__ import main
from examples.word_problems.equations import equation, letters
from examples.word_problems.problems import Problem, _Telling, problem
from examples.word_problems.scenes import all_scenes, condition
from examples.word_problems.words import Unmentioned
from tasks.equations import evaluate_equation
from tasks.placeholders import MaskedNumbers
from training.evaluation.arithmetic import numbers_in, read_arithmetic


@pytest.fixture(scope="module")
def made() -> list[Problem]:
    rng = random.Random(0)
    return [problem(rng) for _ in range(6000)]


def test_what_a_rationale_says_is_true(made: list[Problem]) -> None:
    for one in made:
        expressions, statements = read_arithmetic(one.rationale)
        assert statements, one
        assert all(statement.true for statement in statements), one
        assert expressions[-1].value == evaluate_equation(one.label), one


def test_rationales_have_the_problems_own_numbers(made: list[Problem]) -> None:
    for one in made:
        given = {number.value for number in numbers_in(one.text)} | {2.0, 7.0, 12.0, 100.0}
        calculated = {
            value for found in read_arithmetic(one.rationale)[0] for value in found.values
        }
        assert {number.value for number in numbers_in(one.rationale)} <= given | calculated, one


def test_masked_they_have_no_other_numbers_than_constants(made: list[Problem]) -> None:
    for one in made:
        codec = MaskedNumbers(one.text)
        label, rationale = codec.mask_label(one.label), codec.mask_rationale(one.rationale)
        assert codec.unmask_label(label) == one.label
        assert codec.unmask_rationale(rationale) == one.rationale
        assert not re.search(r"(?<![\w.])(?!(?:2|7|12|100)(?:\.0)?\b)[0-9]", label), one
        assert not re.search(r"(?<!\w)(?!(?:2|7|12|100)\b)[0-9]", rationale), one


def test_texts_are_whole_and_seldom_alike(made: list[Problem]) -> None:
    for one in made:
        for text in (one.text, one.rationale):
            assert text[0].isupper() or text[0].isdigit(), one
            assert not re.search(r"[\[\]{}|\x00]|  |\.\.|,,", text), one
        assert "?" in one.text, one
    masked = {MaskedNumbers(one.text).text.casefold() for one in made}
    assert len(masked) > 0.98 * len(made)
    assert len({one.scene.name for one in made}) == len(all_scenes())


@pytest.mark.parametrize("scene", all_scenes(), ids=lambda scene: f"{scene.kind}: {scene.name}")
def test_each_question_of_a_scene_can_be_asked(scene: object) -> None:
    rng = random.Random(0)
    for question in scene.ask:  # type: ignore[attr-defined]
        for _ in range(200):
            try:
                if _Telling(scene, question, rng).problem() is not None:  # type: ignore[arg-type]
                    break
            except Unmentioned:
                continue
        else:
            pytest.fail(f"never asked: {question.q}")


def test_names_of_scenes_differ() -> None:
    names = [scene.name for scene in all_scenes()]
    assert len(set(names)) == len(names)


def test_what_is_needed_may_only_compare() -> None:
    assert condition("a > b + c and d > 2")({"a": 9, "b": 3, "c": 5, "d": 3})
    assert not condition("a > b")({"a": 2, "b": 3})
    with pytest.raises(ValueError, match="may hold only"):
        condition("__import__('os')")
    assert letters(equation("a - b")) == {"a", "b"}


def test_the_command_writes_the_same_rows_of_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        out = str(tmp_path / "new" / f"{name}.jsonl")
        assert main(["--rows", "20", "--seed", seed, "--out", out]) == 0
    texts = {name: (tmp_path / "new" / f"{name}.jsonl").read_text() for name in "abc"}
    assert texts["a"] == texts["b"] != texts["c"]
    rows = [json.loads(line) for line in texts["a"].splitlines()]
    assert len(rows) == 20
    assert set(rows[0]) == {"input", "label", "rationale", "scene"}


def test_some_kinds_and_some_rationales(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    arguments = ["--rows", "300", "--kinds", "change", "stocks", "--explained", "0.3"]
    assert main([*arguments, "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    kinds = {scene.name: scene.kind for scene in all_scenes()}
    assert {kinds[row["scene"]] for row in rows} == {"change", "stocks"}
    explained = [row for row in rows if row["rationale"] is not None]
    assert 60 < len(explained) < 120
    with pytest.raises(SystemExit):
        main(["--rows", "1", "--explained", "1.5", "--out", str(out)])


def test_a_file_that_cannot_be_written_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--rows", "1", "--out", str(tmp_path / "file" / "rows.jsonl")]) == 2
    assert capsys.readouterr().err.startswith("word_problems: ")
