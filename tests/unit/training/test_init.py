"""`duet init` writes a recipe that can be trained, and says what it found in one line each."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
import yaml
from huggingface_hub import constants
from pyarrow import parquet

from tests.support.command_errors import complaint_of
from tests.support.pretrained_t5 import write_pretrained
from tests.support.seeded_rows import make_rows, write_rows
from tests.support.server_process import ROOT, environment
from tests.support.simple_problems import problem
from tests.support.tickets import LABELS, ticket
from training.config import DistillConfig, load_config
from training.data.splits import load_splits
from training.init import main


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory, from which there is no hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.delenv("MAKELEVEL", raising=False)


def write_tickets(path: Path, rows: int = 60) -> list[dict[str, str]]:
    made = [{"id": f"T-{n}", **row} for n, row in enumerate(make_rows(ticket, rows, seed=0))]
    write_rows(path, made)
    return made


def recipe(*arguments: str) -> DistillConfig:
    """The recipe that the command writes for these arguments; its data can be loaded."""
    assert main(list(arguments)) == 0
    (written,) = Path().glob("*.yaml")
    config = load_config(written)
    splits = load_splits(config)
    assert len(splits.validation) <= config.validation_rows
    return config


def test_the_recipe_of_tickets(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_tickets(Path("tickets.jsonl"))
    config = recipe("tickets.jsonl")
    task = config.task
    assert (config.name, config.output_dir) == ("tickets", Path("runs/tickets"))
    assert (task.fields, task.template) == (["input"], "{{input}}")
    assert isinstance(task.labels, list)
    assert sorted(task.labels) == sorted(LABELS)
    assert task.explain_given_label
    assert (config.steps, config.batch_size, config.learning_rate) == (200, 16, 3e-3)
    assert config.validation_rows == 12
    assert config.max_input_tokens > 40
    printed = capsys.readouterr().out
    count = sum(row["label"] == task.labels[0] for row in rows)
    for line in (
        "rows       60 in tickets.jsonl\n",
        f"label      label: one of 4 ({task.labels[0]} {count}, ",
        "rationale  rationale: 60 of 60 rows have one\n",
        "not used   id: ids\n",
        "held out   12 rows; there are no test rows\n",
        "(google/flan-t5-small cannot be had: HF_HUB_OFFLINE is set)\n",
        "time       about a minute on this machine when idle: 200 steps of ",
        "Read it, then: duet distill tickets.yaml\n",
    ):
        assert line in printed
    text = Path("tickets.yaml").read_text()
    assert f"    - {task.labels[0]}  # {count} rows\n" in text
    assert "license: other  # of the student: write the one that your data allow\n" in text


def test_make_is_told_of_its_own_next_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAKELEVEL", "1")
    write_tickets(Path("tickets.jsonl"))
    recipe("tickets.jsonl")
    assert capsys.readouterr().out.endswith("then: make distill RECIPE=tickets.yaml\n")


def test_the_recipe_of_equations(capsys: pytest.CaptureFixture[str]) -> None:
    rows = make_rows(problem, 40, seed=0)
    write_rows(Path("sums.jsonl"), rows)
    write_rows(Path("more.jsonl"), [*make_rows(problem, 20, seed=1), *rows])
    task = recipe("sums.jsonl", "--test", "more.jsonl", "--name", "sums-2").task
    assert (task.name, task.labels, task.answer, task.numbers) == (
        *("sums-2", "open", "arithmetic"),
        "masked",
    )
    printed = capsys.readouterr()
    assert "warning    32 of 60 test rows are training rows too (first: more.jsonl, " in printed.out
    assert "warning" not in printed.err


def test_the_recipe_of_pairs_without_reasons() -> None:
    days = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    pairs = [(f"It rains on day {days[n % 10]}.", f"Guess {n} is so.", n % 2) for n in range(80)]
    names = ("Premise", "hypothesis", "target")
    columns = dict(zip(names, zip(*pairs, strict=True), strict=True))
    parquet.write_table(pa.table(columns), "pairs.parquet")
    config = recipe("pairs.parquet", "--out", "mine.yaml")
    assert (config.name, config.task.labels) == ("mine", ["0", "1"])
    assert config.task.template == "Premise: {{Premise}}\nHypothesis: {{hypothesis}}"
    assert config.data.columns == {"label": "target"}
    assert config.data.group_by == "{{Premise}}"  # which stands in eight rows each
    assert (config.objective, config.task.explain_given_label) == ("finetune", False)


def test_the_recipe_of_choices_and_several_reasons() -> None:
    words = ["pen", "ink", "cup", "jar", "bag", "hat"]
    with Path("quiz.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["the question", "choice_a", "choice_b", "answer", "why_1", "why_2"])
        for n in range(40):
            one, other = words[n % 6], words[(n + 1 + n % 4) % 6]
            asked, why = f"Which of them is in box {n}?", f"It says {n}."
            writer.writerow([asked, one, other, (one, other)[n % 2], why, ("", f"So {n}.")[n % 2]])
    config = recipe("quiz.csv")
    assert config.task.choices == "choices"
    assert config.data.columns == {
        "the_question": "the question",
        "choices": ["choice_a", "choice_b"],
        "label": "answer",
        "rationale": ["why_1", "why_2"],
    }


def test_the_recipe_of_a_folder_that_datasets_reads() -> None:
    kinds = datasets.ClassLabel(names=["glad", "sad"])
    columns = {"text": [f"Text {n} of it." for n in range(40)], "kind": [n % 2 for n in range(40)]}
    features = datasets.Features({"text": datasets.Value("string"), "kind": kinds})
    data = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(train=data, test=data.select(range(10))).save_to_disk("saved")
    config = recipe("saved", "--test", "test")
    assert (config.name, config.task.labels) == ("saved", ["glad", "sad"])
    assert config.data.format == "hub"
    assert (config.data.path, config.data.train, config.data.test) == ("saved", "train", "test")


def test_a_pretrained_student(capsys: pytest.CaptureFixture[str]) -> None:
    write_tickets(Path("tickets.jsonl"))
    write_pretrained(Path("t5"))
    config = recipe("tickets.jsonl", "--model", "t5", "--rationale", "none")
    assert (config.model, config.learning_rate, config.objective) == ("t5", 3e-4, "finetune")
    assert "student    t5, " in capsys.readouterr().out


def test_a_recipe_is_not_written_over(capsys: pytest.CaptureFixture[str]) -> None:
    Path("tickets.yaml").write_text("mine")
    write_tickets(Path("tickets.jsonl"))
    line = complaint_of(["tickets.jsonl"], capsys, main, "init")
    assert line == (
        "init: tickets.yaml is there already; give --force to write over it, or another --out"
    )
    assert Path("tickets.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("rows", "arguments", "complaint"),
    [
        (None, [], "rows.jsonl: No such file or directory"),
        ("{", [], "rows.jsonl, line 1: not JSON"),
        ("", [], "rows.jsonl: there are no rows"),
        ('["a"]', [], "rows.jsonl, line 1: expected an object, found list"),
        ('{"text": "one two", "label": "a"}', [], "text to read"),
        ("few", [], "9 rows with a label are too few; bring 10"),
        ("tickets", ["--label", "mood"], "--label: rows.jsonl has no column 'mood'; there is id, "),
        ("tickets", ["--test", "no.jsonl"], "no.jsonl: No such file or directory"),
        ("tickets", ["--model", "nobody/none"], "--model: nobody/none is no folder, and HF_HUB_OF"),
        ("tickets", ["--model", "."], ". cannot be loaded as a T5"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    rows: str | None, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("rows.jsonl")
    if rows in ("tickets", "few"):
        write_tickets(path, rows=9 if rows == "few" else 60)
    elif rows is not None:
        path.write_text(rows)
    assert complaint in complaint_of(["rows.jsonl", *arguments], capsys, main, "init")
    assert not Path("rows.yaml").exists()


def test_a_row_without_a_label_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, str | None]] = [*write_tickets(Path("tickets.jsonl"))]
    rows[4] = rows[4] | {"label": None}
    write_rows(Path("tickets.jsonl"), rows)
    recipe("tickets.jsonl")
    printed = capsys.readouterr().out
    assert "  dropped  1 × row whose label is null (first: line 5)\n" in printed


def test_a_missing_file_is_told_before_torch_is_imported() -> None:
    program = (
        "import sys; from training.init import main; status = main(['nope.csv']); "
        "sys.exit(3 if 'torch' in sys.modules else status)"
    )
    settings = environment(PYTHONPATH=str(ROOT))
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "init: nope.csv: No such file or directory\n"


def test_labels_that_may_be_mistakes_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_tickets(Path("tickets.jsonl"), rows=200)
    rows[5]["label"], rows[6]["label"] = "biling", "Outage"
    write_rows(Path("tickets.jsonl"), rows)
    recipe("tickets.jsonl")
    printed = capsys.readouterr().out
    rare = "few rows have these labels, which may be mistakes: 'biling' 1, 'Outage' 1"
    assert f"  warning  {rare}\n" in printed
    assert "  warning  'outage' and 'Outage' differ only in case or white space: " in printed
    text = Path("tickets.yaml").read_text()
    assert "    - biling  # 1 row; rare: is it a mistake?\n" in text
    assert "    - Outage  # 1 row; but for case or white space, it is 'outage'\n" in text
    assert "too few" not in printed


def test_few_rows_are_not_trusted(capsys: pytest.CaptureFixture[str]) -> None:
    write_tickets(Path("tickets.jsonl"), rows=10)
    write_tickets(Path("more.jsonl"), rows=30)
    recipe("tickets.jsonl", "--label", "label", "--test", "more.jsonl")
    printed = capsys.readouterr().out
    assert "  warning  10 rows are too few to trust the student; bring some hundreds\n" in printed
    assert "test       30 rows in more.jsonl\n" in printed


def test_one_label_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_tickets(Path("tickets.jsonl"))
    write_rows(Path("tickets.jsonl"), [row | {"label": "billing"} for row in rows])
    line = complaint_of(["tickets.jsonl", "--label", "label"], capsys, main, "init")
    assert line == (
        "init: tickets.jsonl: the column 'label' has one label only, 'billing': there is nothing "
        "to learn; bring rows with other labels, or give --label"
    )


def test_a_name_must_be_one_of_a_student(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rows.jsonl", "--name", "a b"])
    assert ended.value.code == 2
    assert "expected letters, digits, dots, dashes and underscores" in capsys.readouterr().err


def test_every_value_is_as_it_was_found() -> None:
    """A label that YAML would read as something else stays a text."""
    rows = [{"t": f"Text {n} of them", "label": ("no", "3", "a: b # c")[n % 3]} for n in range(30)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert recipe("rows.jsonl").task.labels == ["no", "3", "a: b # c"]
    (line,) = (line for line in Path("rows.yaml").read_text().splitlines() if "a: b" in line)
    assert yaml.safe_load(line.strip()) == ["a: b # c"]
