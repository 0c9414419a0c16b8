from arithmetic.masking import MaskedNumbers
from training.data import Example
from training.word_problems.swaps import with_swaps
from training.word_problems.words import vocabulary

ROW = Example(
    {"text": "Nora had 15 pears and gave a pear to Tom. Tom's bag has 3 pears."},
    "( 15.0 - 3.0 )",
    "Nora had 15 pears.",
)


def test_names_and_nouns_are_others_and_all_else_stays() -> None:
    first, *copies = with_swaps([ROW], 20, seed=0)
    assert first == ROW
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
    _, *copies = with_swaps([ROW], 20, seed=0, renumber=True)
    assert len({copy.label for copy in copies}) > 15
    for copy in copies:
        codec = MaskedNumbers(str(copy.input["text"]))
        assert codec.mask_label(copy.label) == "( n0 - n1 )"
        assert codec.mask_rationale(copy.rationale or "").split(" ", 3)[1:3] == ["had", "n0"]
    plain = Example({"text": "What is 3 and 4?"}, "( 3.0 + 4.0 )", None)
    assert len(with_swaps([plain], 5, seed=0, renumber=True)) == 6


def test_a_row_without_such_words_is_not_copied() -> None:
    row = Example({"text": "What is 3 and 4?"}, "( 3.0 + 4.0 )", None)
    assert with_swaps([row], 5, seed=0) == [row]
    assert with_swaps([ROW], 0, seed=0) == [ROW]
    assert with_swaps([ROW], 3, seed=1) == with_swaps([ROW], 3, seed=1)
