import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.placeholders import MOST_NUMBERS, Codec, CountedNumbers, MaskedNumbers, codec_of

PEARS = "Nora had 84 pears in 2 boxes and 1,200 figs worth $0.50 each."


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (PEARS, "Nora had n0 pears in n1 boxes and n2 figs worth $n3 each."),
        ("Three boys ate twenty-five or TWO pies.", "n0 boys ate n1 or n2 pies."),
        ("one of a second one, twofold", "one of a second one, twofold"),
        ("5kg at 3:30, 1/2 of 20%, 7-8", "n0kg at n1:n2, n3/n4 of n5%, n6-n7"),
        ("The 1st and the 22nd of A4, x86, v1.2", "The 1st and the 22nd of A4, x86, v1.n0"),
        ("12,34 and 1234,567 and 1.5.2", "n0,n1 and n2,n3 and n4.n5"),
        ("n0 has 5, r1 has 6, pan7", "n0 has n1, n2 has n3, pan7"),
        ("\u0665 and 9999999999999999", "\u0665 and 9999999999999999"),
    ],
)
def test_numbers_are_masked_in_their_order(text: str, masked: str) -> None:
    assert MaskedNumbers(text).text == masked


@pytest.mark.parametrize(
    ("label", "masked"),
    [
        ("( 84.0 / 2.0 )", "( n0 / n1 )"),
        ("( ( 1200.0 * 0.5 ) + 84.0 )", "( ( n2 * n3 ) + n0 )"),
        ("( 84.0 / 7.0 )", "( n0 / 7.0 )"),  # the days of a week
        ("( 84.0 - 84.0 )", "( n0 - n0 )"),
        ("no equation", "no equation"),
    ],
)
def test_labels_have_the_inputs_numbers(label: str, masked: str) -> None:
    codec = MaskedNumbers(PEARS)
    assert codec.mask_label(label) == masked
    assert codec.unmask_label(masked) == label


def test_equal_numbers_take_turns() -> None:
    codec = MaskedNumbers("Ann has 5 pens, Ben 5 inks and Cleo 5.0 cups.")
    assert codec.mask_label("( ( 5.0 + 5.0 ) - 5.0 )") == "( ( n0 + n1 ) - n2 )"
    rationale = "Ann has 5 pens, Ben has 5 inks."
    assert codec.mask_rationale(rationale) == "Ann has n0 pens, Ben has n1 inks."


@pytest.mark.parametrize(
    ("rationale", "masked"),
    [
        ("84 pears / 2 boxes. So 84 / 2 = 42. 42", "n0 pears / n1 boxes. So n0 / n1 = r0. r0"),
        ("84 / 2 = 42. 42 - 2 = 40. 40 of 42", "n0 / n1 = r0. r0 - n1 = r1. r1 of r0"),
        ("1,200 * 0.50 = 600. 600 / 7 = 85.71.", "n2 * n3 = r0. r0 / 7 = r1."),
        ("2 - 84 = -82, so -82", "n1 - n0 = -r0, so -r0"),
        ("84 - 82 = 2. 2 boxes", "n0 - 82 = r0. r0 boxes"),
        ("84 + 2 = 86. 80 + 6 = 86", "n0 + n1 = r0. 80 + 6 = r1"),
        ("84 / 2 = 41. 41", "n0 / n1 = 41. 41"),  # which is wrong, and stays so
        ("84 + 2 = 86. 80 + 4 = 86", "n0 + n1 = r0. 80 + 4 = 86"),
        ("84 / 2 = 2", "n0 / n1 = n1"),
        ("In 7 days", "In 7 days"),
    ],
)
def test_rationales_have_results(rationale: str, masked: str) -> None:
    codec = MaskedNumbers(PEARS)
    assert codec.mask_rationale(rationale) == masked
    assert codec.unmask_rationale(masked) == rationale


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("n0 / n1 = r0. r0 * n1 = r1.", "84 / 2 = 42. 42 * 2 = 84."),
        ("n0 + n1 = r0. r0 - n1 = r0. r0", "84 + 2 = 86. 86 - 2 = 84. 84"),  # the latest holds
        ("n1 - n0 = r0, so r0", "2 - 84 = -82, so -82"),
        ("r0 pears, n0 - n1 = r0", "r0 pears, 84 - 2 = 82"),  # nothing to work out yet
        ("n9 - n0 = r0", "n9 - 84 = r0"),  # the input has no such number
        ("n0 / 0 = r3", "84 / 0 = r3"),
        ("n2 + n0 = r0", "1,200 + 84 = 1284"),
        ("ran1, n1x", "ran1, 2x"),
    ],
)
def test_what_a_student_may_say(said: str, read: str) -> None:
    assert MaskedNumbers(PEARS).unmask_rationale(said) == read


def test_words_come_back_in_digits() -> None:
    codec = MaskedNumbers("Two boys share twenty-one figs.")
    assert codec.unmask_label("( n1 / n0 )") == "( 21.0 / 2.0 )"
    assert codec.unmask_rationale("n1 / n0 = r0") == "21 / 2 = 10.5"
    assert codec.mask_label("( 21.0 / 2.0 )") == "( n1 / n0 )"


def test_a_number_without_a_value_is_in_no_equation() -> None:
    codec = MaskedNumbers("n5 and 3")
    assert codec.unmask_label("( n0 - n1 )") == "( n5 - 3.0 )"
    assert codec.unmask_rationale("n0 - n1 = r0") == "n5 - 3 = r0"


def test_a_huge_text_has_bounded_numbers() -> None:
    text = "1 " * (MOST_NUMBERS + 2)
    assert MaskedNumbers(text).text.endswith(f"n{MOST_NUMBERS - 1} 1 1 ")


def test_without_masking_texts_stay() -> None:
    codec = codec_of(None, "5 n0")
    assert type(codec) is Codec
    assert codec.text == "5 n0"
    for turn in (
        codec.mask_label,
        codec.mask_rationale,
        codec.unmask_label,
        codec.unmask_rationale,
        codec.unmask_settled,
    ):
        assert turn("5 + 5 = r0 n0") == "5 + 5 = r0 n0"
    assert type(codec_of("masked", "5")) is MaskedNumbers
    assert type(codec_of("counted", "5")) is CountedNumbers


def test_counted_numbers_come_back_in_the_order_that_can_be() -> None:
    codec = CountedNumbers("Ann has 3 red and 5 blue of 30.")
    assert codec.text == "Ann has n0 red and n1 blue of n2. ( n0 n1 n2 , n2 / n0 , n2 / n1 )"
    assert codec.mask_label("( 3.0 - 5.0 )") == "( n0 - n1 )"
    assert codec.restore_label("( n0 - n1 )") == "( 3.0 - 5.0 )"
    assert codec.unmask_label("( n0 - n1 )") == "( 5.0 - 3.0 )"
    said = "So n0 - n1 = r0 more, r0. n0 / n2 = r1. n2 - n0 - n1 = r2."
    assert codec.unmask_rationale(said) == ("So 5 - 3 = 2 more, 2. 30 / 3 = 10. 30 - 3 - 5 = 22.")
    assert codec.unmask_settled("So n0 - n1 =") == "So"
    assert codec.unmask_settled("So n0 - n1 = r0 more, r0.") == "So 5 - 3 = 2 more,"


TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["n0", "r3", "n", "r", "5", "12", "1,200", "0.50", "two", "Twenty-one", "7th", "1e5"]
        ),
        st.sampled_from([" ", ",", ".", "-", "$", "=", "x", "\u00e9", "\u0663", "\n"]),
        st.text(string.digits + string.ascii_letters + ",. ", max_size=4),
    ),
    max_size=20,
).map("".join)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(TEXTS)
def test_every_input_comes_back(text: str) -> None:
    codec = MaskedNumbers(text)
    numbers = [number.text for number in codec._numbers]
    assert text == re.sub(
        r"(?<!\w)n([0-9]{1,6})(?![0-9])", lambda found: numbers[int(found[1])], codec.text
    )


NUMBERS = st.sampled_from(["3", "4", "12", "84", "2.5", "0.5", "1,200", "100", "9999", "7"])


@st.composite
def problems(draw: st.DrawFn) -> tuple[str, str, str]:
    """An input, a label, and a rationale with statements over its numbers and others."""
    numbers = draw(st.lists(NUMBERS, min_size=1, max_size=4))
    known = st.one_of(st.sampled_from(numbers), st.sampled_from(["2", "7", "60", "3.25"]))

    def label(depth: int) -> str:
        if not depth or draw(st.booleans()):
            return str(float(draw(known).replace(",", "")))
        return f"( {label(depth - 1)} {draw(st.sampled_from('+-*/'))} {label(depth - 1)} )"

    statements = []
    for _ in range(draw(st.integers(0, 4))):
        left = f"{draw(known)} {draw(st.sampled_from('+-*/'))} {draw(known)}"
        right = draw(st.one_of(known, st.sampled_from(["15", "96", "0.33", "-8", "16.8", "1.00"])))
        statements.append(f"So Ann has {draw(known)} figs, {left} = {right} of them.")
    return "Ann has " + " figs, ".join(numbers), label(2), " ".join(statements)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(problems())
def test_labels_and_rationales_come_back(problem: tuple[str, str, str]) -> None:
    text, label, rationale = problem
    codec = MaskedNumbers(text)
    assert codec.unmask_label(codec.mask_label(label)) == label
    assert codec.unmask_rationale(codec.mask_rationale(rationale)) == rationale


PIECES = [
    "n0",
    "n1",
    "n2",
    "n12",
    "r0",
    "r1",
    "=",
    "+",
    "/",
    "(",
    ")",
    "n",
    "r",
    "7",
    ".",
    "-",
    "$",
    "an",
    "5",
    "figs",
    "é",
]
SAID = st.lists(st.sampled_from([*PIECES, " ", " = ", " + "]), max_size=24).map("".join)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(SAID, st.sampled_from([MaskedNumbers, CountedNumbers]))
def test_what_is_settled_stays(said: str, kind: type[MaskedNumbers]) -> None:
    codec = kind(PEARS)
    said = said.strip()
    whole, before = codec.unmask_rationale(said), ""
    for end in range(len(said) + 1):
        settled = codec.unmask_settled(said[:end].rstrip())
        assert whole.startswith(settled)
        assert settled.startswith(before)
        before = settled
