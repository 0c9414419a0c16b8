import json
from pathlib import Path

import pytest

from tasks.builtin import TASKS
from training.config import DistillConfig, load_config
from training.data.row import DataError, Row
from training.data.splits import (
    Split,
    Splits,
    examples_of,
    group_key,
    hold_out,
    load_splits,
    masked,
)
from training.student.files import Example
from training.yaml_files import ConfigError

MINI = Path(__file__).parents[4] / "training" / "recipes" / "svamp-mini.yaml"
FIXTURES = Path(__file__).parents[3] / "fixtures"
SVAMP = TASKS["svamp"]
PASSAGE = "{{text.splitlines()[0]}}"


def numbered(count: int) -> list[Row]:
    return [Row(f"line {i}", {"text": f"{i}"}, f"{i}") for i in range(count)]


def recipe(*overrides: str) -> DistillConfig:
    return load_config(MINI, list(overrides))


def made(folder: Path, validation_rows: int = 10, **data: object) -> DistillConfig:
    """50 training rows and 20 test rows: five passages each, three of them the test's own."""
    for name, start, rows in (("train", 0, 50), ("test", 3, 20)):
        lines = [
            {
                "text": f"Box {'abcdefgh'[start + i % 5]} has {i} books.\nHow many{' then' * i}?",
                "label": f"{i}",
                "teacher_label": f"{i + (i % 10 == 0)}" if i % 25 else None,
                "rationale": [f"It says {i}.", f"There are {i}.", f"So {i}."][: i % 4],
            }
            for i in range(rows)
        ]
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = {
        "format": "jsonl",
        "train": str(folder / "train.jsonl"),
        "test": str(folder / "test.jsonl"),
    } | data
    return recipe(f"data={json.dumps(data)}", f"validation_rows={validation_rows}")


def passages(examples: list[Example]) -> set[str]:
    return {example.input["text"].split()[1] for example in examples}


def test_validation_rows_come_from_the_training_rows_by_seed() -> None:
    rows = numbered(50)
    key = group_key(SVAMP, None)
    train, validation = hold_out(rows, 10, 3, key)
    assert (len(train), len(validation)) == (40, 10)
    assert sorted(train + validation, key=lambda row: int(row.label or "")) == rows
    assert hold_out(rows, 10, 3, key) == (train, validation)
    assert hold_out(rows, 10, 4, key) != (train, validation)
    with pytest.raises(DataError, match="50 usable training rows"):
        hold_out(rows, 50, 3, key)


def test_groups_stay_whole() -> None:
    rows = numbered(50)
    for seed in range(20):
        train, validation = hold_out(rows, 10, seed, lambda row: str(int(row.input["text"]) // 4))
        assert 7 <= len(validation) <= 10
        groups = [{int(row.input["text"]) // 4 for row in rows} for rows in (train, validation)]
        assert not groups[0] & groups[1]
    with pytest.raises(DataError, match="none of the 2 groups of rows has 10 rows or fewer"):
        hold_out(rows, 10, 0, lambda row: str(int(row.input["text"]) % 2))


def test_masked_text_hides_numbers_case_and_spaces() -> None:
    assert masked(" Ann had 1,250.5 pears.\nHow many?") == "ann had <number> pears. how many?"
    assert masked("ann had 3  pears. How many?") == masked("Ann had 12 pears.\nhow many?")


def test_a_row_is_an_example_for_each_of_its_rationales() -> None:
    rows = [
        Row("a", {"text": "x"}, "1", "2", ("so", "thus", "hence")),
        Row("b", {"text": "y"}, "3"),
    ]
    first = [Example({"text": "x"}, "1", why) for why in ("so", "thus", "hence")]
    last = Example({"text": "y"}, "3", None)
    assert examples_of(rows, "gold", None) == [*first, last]
    assert examples_of(rows, "gold", 2) == [*first[:2], last]
    assert examples_of(rows[:1], "teacher", 1) == [Example({"text": "x"}, "2", "so")]


def test_several_rationales_train_but_are_measured_once(tmp_path: Path) -> None:
    splits = load_splits(made(tmp_path))
    texts = [{one.input["text"] for one in part} for part in (splits.train, splits.validation)]
    assert (len(texts[0]), len(texts[1]), len(splits.validation)) == (40, 10, 10)
    assert not texts[0] & texts[1]
    assert len(splits.train) > 60
    assert len(load_splits(made(tmp_path, max_rationales=1)).train) == 40


def test_grouped_splits_keep_passages_together(tmp_path: Path) -> None:
    splits = load_splits(made(tmp_path, group_by=PASSAGE))
    assert passages(splits.validation) < set("abcde")
    assert not passages(splits.train) & passages(splits.validation)
    assert "8 of 20 test rows are of a group with training rows" in splits.reports
    splits = load_splits(made(tmp_path, group_by=PASSAGE, group_test=True))
    parts = list(map(passages, (splits.train, splits.validation, splits.test)))
    assert set.union(*parts) == set("abcdefgh")
    assert sum(map(len, parts)) == 8


def test_teacher_labels_and_filters(tmp_path: Path) -> None:
    splits = load_splits(made(tmp_path, labels="teacher"))
    assert "50 rows, 2 dropped" in splits.reports[0]
    wrong = {f"{i + 1}" for i in (10, 20, 30, 40)}
    assert wrong <= {one.label for one in splits.train + splits.validation}
    assert {one.label for one in splits.test} == {f"{i}" for i in range(20)}
    validation = load_splits(made(tmp_path)).validation
    splits = load_splits(made(tmp_path, filters={"teacher_correct": "row"}))
    assert splits.validation == validation  # filters change what is learnt, not what is measured
    assert not {f"{i}" for i in range(0, 50, 10)} & {one.label for one in splits.train}
    with pytest.raises(DataError, match="no training rows are left"):
        load_splits(made(tmp_path, filters={"max_input_characters": 1}))


def test_validation_rows_of_its_own(tmp_path: Path) -> None:
    own = str(tmp_path / "test.jsonl")
    splits = load_splits(made(tmp_path, validation=own, test=None))
    assert len({one.input["text"] for one in splits.train}) == 50
    assert len(splits.validation) == 10  # of 20
    assert passages(splits.validation) <= set("defgh")
    assert len(load_splits(made(tmp_path, 30, validation=own, test=None)).validation) == 20


def test_a_group_template_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"jsonl, line 1: data\.group_by fails: .*premise"):
        load_splits(made(tmp_path, group_by="{{premise}}"))


def test_the_fingerprint_follows_what_is_learned_from() -> None:
    a, b = Example({"text": "a"}, "1", None), Example({"text": "b"}, "2", "why")
    fingerprint = Splits([a], [b], [], []).fingerprint()
    assert Splits([a], [b], [a, b], []).fingerprint() == fingerprint
    assert Splits([b], [a], [], []).fingerprint() != fingerprint


def test_half_of_the_real_test_problems_share_their_passage(real_data: Path) -> None:
    path = f"data.path={real_data / 'dss'}"
    group_by = f"data.group_by={json.dumps(PASSAGE)}"
    splits = load_splits(recipe(path, group_by))
    assert "57 of 100 test rows are of a group with training rows" in splits.reports
    whole = load_splits(recipe(path, "data.group_by='{{text}}'"))
    assert "0 of 100 test rows are of a group with training rows" in whole.reports
    splits = load_splits(recipe(path, group_by, "data.group_test=true"))
    keys = [
        {masked(one.input["text"].splitlines()[0]) for one in part}
        for part in (splits.train, splits.validation, splits.test)
    ]
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (700, 100, 100)
    assert sum(map(len, keys)) == len(set.union(*keys))


def test_the_rows_of_an_older_student_are_drawn_as_they_were(real_data: Path) -> None:
    manifest = FIXTURES / "svamp-mini" / "manifest.json"
    splits = load_splits(recipe(f"data.path={real_data / 'dss'}"))
    assert splits.fingerprint() in manifest.read_text(encoding="utf-8")


def test_extra_rows_are_only_trained_on_and_in_no_group_that_is_held_out(tmp_path: Path) -> None:
    extra = tmp_path / "extra.jsonl"
    lines = [
        {"input": f"Box {letter} has {i} books.\nWho?", "label": "1"}
        for i, letter in enumerate("abcdefghij")
    ]
    extra.write_text("".join(json.dumps(line) + "\n" for line in lines))
    plain = load_splits(made(tmp_path, group_by=PASSAGE))
    splits = load_splits(made(tmp_path, group_by=PASSAGE, train_only=str(extra)))
    assert (splits.validation, splits.test) == (plain.validation, plain.test)
    added = splits.train[len(plain.train) :]
    assert splits.train[: len(plain.train)] == plain.train
    held_out = passages(plain.validation) | passages(plain.test)
    assert passages(added) == set("abcdefghij") - held_out
    assert f"{10 - len(added)} are of a group with validation or test rows" in splits.reports[-1]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_rows_of_a_file_that_are_training_rows_too_stay_and_are_told(
    split: Split, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    made(tmp_path)
    own, other = tmp_path / "own.jsonl", [{"text": f"new {i}", "label": "1"} for i in range(5)]
    train = (tmp_path / "train.jsonl").read_text().splitlines()
    known = [json.loads(line) | {"label": "9"} for line in train]  # whatever their label is
    for again, told in (
        (0, None),
        (1, "1 of 6 {} rows is a training row too (first: {}, line 6): its answer says"),
        (3, "3 of 8 {} rows are training rows too (first: {}, line 6): their answers say"),
    ):
        rows = other + [row | {"text": f" {row['text']}"} for row in known[:again]]
        own.write_text("".join(json.dumps(row) + "\n" for row in rows))
        files = {"validation": str(tmp_path / "test.jsonl"), "test": None} | {split: str(own)}
        splits = load_splits(made(tmp_path, 30, **files))
        assert len(splits.measured()[split]) == 5 + again
        warning = told and f"{told.format(split, own)} nothing about new rows"
        assert splits.trained_on == ({split: warning} if warning else {})
        assert (f"warning: {warning}" in splits.reports) == bool(told)
        assert caplog.text.count("warning: ") == bool(told)
        caplog.clear()


def test_rows_that_are_held_out_are_no_training_rows(tmp_path: Path) -> None:
    config = made(tmp_path, test=str(tmp_path / "train.jsonl"))
    told = load_splits(config).trained_on["test"]
    assert told.startswith("40 of 50 test rows are training rows too (first: ")  # 10 are held out


@pytest.mark.parametrize(
    ("key", "told"),
    [("extra", "extra is called train_only now"), ("swaps", "swaps is no key any more")],
)
def test_an_older_recipes_keys_are_refused_with_what_to_write_now(
    key: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(MINI, [f"data.{key}=1"])
