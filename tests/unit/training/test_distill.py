"""The command: what it writes, and what it refuses."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer, T5ForConditionalGeneration

from tasks.equations import evaluate_equation
from tests.conftest import ROOT
from tests.support.command_errors import complaint_of
from tests.support.tiny_students import tiny_student
from training.config import load_config
from training.distill import main
from training.evaluation.health import FAULTS


def test_a_checkpoint_with_its_record(
    arguments: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "calibration.json").write_text('{"temperature": 2}')  # of an earlier student
    with caplog.at_level(logging.INFO):
        assert main(arguments) == 0
    assert "train.jsonl: 60 rows, 0 dropped, 0 without a rationale" in caplog.text
    assert not (out / "calibration.json").exists()
    record = json.loads((out / "student.json").read_text())
    assert record["task"]["name"] == "svamp"
    assert record["recipe"]["steps"] == 6
    assert record["explains"] is True
    assert record["base_model"] == "scratch"
    assert record["data"]["train_rows"] == 48
    assert record["metrics"]["validation"]["rows"] == 12
    assert record["metrics"]["test"]["rows"] == 10
    examples = [json.loads(line) for line in (out / "examples.jsonl").read_text().splitlines()]
    assert len(examples) == 60
    assert all(evaluate_equation(example["label"]) is not None for example in examples)
    assert json.loads((out / "config.json").read_text())["architectures"] == [
        "T5ForConditionalGeneration"
    ]
    model = T5ForConditionalGeneration.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert model.config.vocab_size == len(tokenizer)
    assert not (out / "checkpoints").exists()


def test_print_config_prints_the_whole_recipe_and_does_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--print-config", *arguments, "beta=0.25"]) == 0
    printed = capsys.readouterr().out
    assert "\nbeta: 0.25\nalpha_by_entropy: false\n" in printed  # what it took by default, too
    assert not (tmp_path / "out").exists()
    path = tmp_path / "printed.yaml"
    path.write_text(printed, encoding="utf-8")
    assert load_config(path) == load_config(Path(arguments[0]), [*arguments[1:], "beta=0.25"])
    assert main(["--print-config", *arguments, "beta=high"]) == 2
    assert capsys.readouterr().out == ""


def test_every_term_is_logged(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    training, validation = printed.splitlines()[:2]
    for line in (training, validation):
        for term in ("loss ", "loss_predict ", "loss_explain ", "loss_mi "):
            assert f" {term}" in line
    assert training.startswith("step 2 of 6: loss ")
    assert validation.startswith("step 2 of 6, validation: ")
    assert " mi_bound " in validation


def test_rationales_are_looked_at_while_training(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("; rationales: ") == 3  # of 6 steps, every second
    assert "% bare_label" in printed
    out = tmp_path / "out"
    measured = json.loads((out / "student.json").read_text())["metrics"]["rationales"]
    assert measured["rows"] == 12
    assert measured.keys() == {"rows", "healthy", *FAULTS, "reference"}
    assert all(0 <= share <= 1 for name, share in measured.items() if name != "rows")
    tokenizer = json.loads((out / "tokenizer.json").read_text())
    assert (tokenizer["truncation"], tokenizer["padding"]) == (None, None)


@pytest.mark.parametrize(
    ("objective", "why"),
    [
        ("finetune", "objective: finetune learns labels only"),
        ("mi-infonce", "no training row has a rationale"),
        ("mi-official", "no training row has a rationale"),
    ],
)
def test_without_rationales_there_is_no_explain_pass(
    objective: str,
    why: str,
    arguments: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    if objective != "finetune":
        path = tmp_path / "train.jsonl"
        rows = [json.loads(line) | {"rationale": None} for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main([*arguments, f"objective={objective}"]) == 0
    warnings = [one.getMessage() for one in caplog.records if one.name == "duet.distill"]
    assert [one for one in warnings if "explain" in one] == [
        f"warning: {why}: there is no explain pass, and the service will refuse to explain"
    ]
    printed = capsys.readouterr().out
    assert " loss_predict " in printed
    for absent in ("healthy", "loss_explain", "loss_mi", "mi_bound"):
        assert absent not in printed
    record = json.loads((tmp_path / "out" / "student.json").read_text())
    assert record["explains"] is False
    assert record["recipe"]["objective"] == objective  # as it was written
    assert "rationales" not in record["metrics"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "It gives **no rationale**" in card
    assert "explain: " not in card
    assert main([*arguments, f"objective={objective}"]) == 0  # its student is there


def test_without_rationales_a_student_learns_what_finetune_learns(
    arguments: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    rows = [json.loads(line) | {"rationale": None} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    weights = []
    for objective in ("mi-infonce", "finetune"):
        out = tmp_path / objective
        assert main([*arguments, f"objective={objective}", f"output_dir={out}"]) == 0
        weights.append((out / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_the_options_of_an_objective(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["temperature=0.2", "mask_same_label=true", "beta_warmup_steps=4", "detach=explain"]
    more = ["alpha_by_entropy=true", "cascade=true"]
    assert main([*arguments, "objective=mi-infonce", *options, *more]) == 0
    printed = capsys.readouterr().out
    assert " loss_mi " in printed
    assert " alpha " in printed
    out = tmp_path / "out"
    recipe = json.loads((out / "student.json").read_text())["recipe"]
    assert (recipe["temperature"], recipe["detach"], recipe["reduction"]) == (0.2, "explain", None)
    rows = [json.loads(line) for line in (out / "examples.jsonl").read_text().splitlines()]
    assert all(row["rationale"].endswith(f" So the answer is {row['label']}.") for row in rows)
    _, loading = T5ForConditionalGeneration.from_pretrained(out, output_loading_info=True)
    assert not loading["unexpected_keys"]


def test_a_mixture_explains(arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row | ({} if i % 3 else {"rationale": None}) for i, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(arguments) == 0
    record = json.loads((tmp_path / "out" / "student.json").read_text())
    assert record["explains"] is True
    assert "rationales" in record["metrics"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("steps=0", "steps: "),
        ("data.train=/nowhere.jsonl", "/nowhere.jsonl: No such file"),
        ("validation_rows=60", "60 usable training rows"),
        ("model=/no/such/model", "model: /no/such/model: there is no such folder"),
        ("model=scratch", "needs a geometry: write `scratch:` below `model:`, with vocab_size, "),
        ("output_dir=/dev/null", "Not a directory"),
        ("precision=fp16", "precision: T5's activations overflow in fp16"),
        ("report_to=wandb", "report_to: wandb needs a package; run pip install wandb"),
        ("gradient_accumulation_steps=3", "batch_size: 8 rows cannot be dealt out among 1"),
        ("objective=mi", "objective: `mi` was found to teach students to write"),
    ],
)
def test_what_is_wrong_takes_one_line_and_exit_code_2(
    arguments: list[str], change: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, change]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("distill:")]
    assert complaint in line


def test_a_run_prints_nothing_but_its_lines(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No dict, no bar where stderr is no terminal, and no warning of a library."""
    program = "import sys; from training.distill import main; sys.exit(main(sys.argv[1:]))"
    assert subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT).returncode == 0
    printed, log = capfd.readouterr()
    steps, closing = printed.splitlines()[:-3], printed.splitlines()[-3:]
    assert [line.partition(":")[0] for line in steps] == [
        f"step {step} of 6{what}" for step in (2, 4, 6) for what in ("", ", validation")
    ]
    assert closing[0] == f"student: {tmp_path / 'out'}"
    expected = ("/train.jsonl: ", "/test.jsonl: ", "word-problems: ", "warning: ")
    for line in log.splitlines():
        assert line.removeprefix(str(tmp_path)).startswith(expected), line


def test_a_pretrained_student(arguments: list[str], tmp_path: Path) -> None:
    save_pretrained(tmp_path / "t5")
    assert main([*arguments, f"model={tmp_path / 't5'}"]) == 0
    record = json.loads((tmp_path / "out" / "student.json").read_text())
    assert record["base_model"] == str(tmp_path / "t5")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model_type": "mt5"}, "is a 'mt5', but a student is a 't5'"),
        ({"num_layers": 3}, "lack encoder.block.2"),
        ({"num_layers": 1}, "have encoder.block.1.layer.0.SelfAttention.k.weight, which the"),
        ({"d_ff": 50}, ".wi.weight have another shape than the configuration says"),
        ({"eos_token_id": 2}, "eos_token_id is 1 in the tokenizer, but 2 in the configuration"),
        ({"decoder_start_token_id": None}, "has no decoder_start_token_id"),
    ],
)
def test_a_model_that_is_no_student_is_refused(
    arguments: list[str],
    tmp_path: Path,
    changes: dict[str, object],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_pretrained(tmp_path / "t5")
    path = tmp_path / "t5" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert main([*arguments, f"model={tmp_path / 't5'}"]) == 2
    assert complaint in capsys.readouterr().err


def write_tokenizer(folder: Path, **changes: object) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (
            lambda folder: write_tokenizer(folder, post_processor=None),
            "its tokenizer does not end a text with the end token",
        ),
        (lambda folder: (folder / "config.json").unlink(), "no config.json in this folder"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded as a T5 ("),
    ],
)
def test_a_model_that_is_not_whole_is_refused_in_one_line(
    arguments: list[str],
    tmp_path: Path,
    damage: Callable[[Path], None],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_pretrained(tmp_path / "t5")
    damage(tmp_path / "t5")
    line = complaint_of([*arguments, f"model={tmp_path / 't5'}"], capsys)
    assert complaint in line
    assert len(line) < 400
    assert not (tmp_path / "out").exists()


def save_pretrained(folder: Path) -> None:
    student = tiny_student()
    student.model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
