import json
from pathlib import Path

from examples.word_problems.swaps import main, swapped_copies
from examples.word_problems.words import vocabulary
from tasks.placeholders import MaskedNumbers
from tests.support.simple_problems import distillation
from training.config import load_config
from training.data.splits import load_splits
from training.student.files import Example

ROW = Example(
    {"text": "Nora had 15 pears and gave a pear to Tom. Tom's bag has 3 pears."},
    "( 15.0 - 3.0 )",
    "Nora had 15 pears.",
)


def test_names_and_nouns_are_others_and_all_else_stays() -> None:
    copies = swapped_copies([ROW], 20, seed=0)
    assert len(copies) == 20
    words = vocabulary()
    nouns = {noun.many: noun.one for noun in words["nouns"]["food"]}
    seen = set()
    for copy in copies:
        her, _, _, rest = str(copy.input["text"]).split(" ", 3)
        many, rest = rest.split(" and gave a ")
        one, rest = rest.split(" to ")
        him = rest.split(".")[0]
        assert copy.input["text"] == (
            f"{her} had 15 {many} and gave a {one} to {him}. {him}'s bag has 3 {many}."
        )
        assert copy.rationale == f"{her} had 15 {many}."
        assert copy.label == ROW.label
        assert (her in words["women"], him in words["men"]) == (True, True)
        assert {her, him}.isdisjoint({"Nora", "Tom"})
        assert nouns[many] == one
        seen.add(many)
    assert "pears" in seen  # in half of them only names are swapped
    assert len(seen) > 5


def test_copies_may_have_other_numbers() -> None:
    copies = swapped_copies([ROW], 20, seed=0, renumber=True)
    assert len({copy.label for copy in copies}) > 15
    for copy in copies:
        codec = MaskedNumbers(str(copy.input["text"]))
        assert codec.mask_label(copy.label) == "( n0 - n1 )"
        assert codec.mask_rationale(copy.rationale or "").split(" ", 3)[1:3] == ["had", "n0"]
    plain = Example({"text": "What is 3 and 4?"}, "( 3.0 + 4.0 )", None)
    assert len(swapped_copies([plain], 5, seed=0, renumber=True)) == 5


def test_a_row_without_such_words_is_not_copied() -> None:
    row = Example({"text": "What is 3 and 4?"}, "( 3.0 + 4.0 )", None)
    assert swapped_copies([row], 5, seed=0) == []
    assert swapped_copies([ROW], 0, seed=0) == []
    assert swapped_copies([ROW], 3, seed=1) == swapped_copies([ROW], 3, seed=1)


def test_copies_of_a_recipes_training_rows_are_rows_for_train_only(tmp_path: Path) -> None:
    recipe, *overrides = distillation(tmp_path)
    out = tmp_path / "copies.jsonl"
    plain = load_splits(load_config(Path(recipe), overrides))
    assert main([recipe, *overrides, "--copies", "2", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(plain.train) < len(rows) <= 2 * len(plain.train)
    splits = load_splits(load_config(Path(recipe), [*overrides, f"data.train_only={out}"]))
    assert (splits.validation, splits.test) == (plain.validation, plain.test)
    assert splits.train[: len(plain.train)] == plain.train
    added = splits.train[len(plain.train) :]
    assert len(added) > len(plain.train)
    for one in added:
        assert {**one.input, "label": one.label, "rationale": one.rationale} in rows
