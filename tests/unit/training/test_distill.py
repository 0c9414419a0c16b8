import json
import logging
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer, T5ForConditionalGeneration

from tests.conftest import ROOT
from tests.students import tiny_student
from tests.word_problems import write_problems
from training.config import load_config
from training.distill import main
from training.tasks import evaluate_equation

RECIPE = ROOT / "tests" / "recipes" / "word-problems.yaml"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A command line that distils a few steps' worth into `tmp_path / "out"`."""
    write_problems(tmp_path / "train.jsonl", rows=60, seed=0)
    write_problems(tmp_path / "test.jsonl", rows=10, seed=1)
    return [
        str(RECIPE),
        f"data.train={tmp_path / 'train.jsonl'}",
        f"data.test={tmp_path / 'test.jsonl'}",
        f"output_dir={tmp_path / 'out'}",
        "steps=6",
        "eval_every=2",
        "batch_size=8",
        "validation_rows=12",
        "model.scratch.d_model=32",
    ]


def test_a_checkpoint_with_its_record(
    arguments: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert main(arguments) == 0
    assert "train.jsonl: 60 rows, 0 dropped, 0 without a rationale" in caplog.text
    out = tmp_path / "out"
    record = json.loads((out / "student.json").read_text())
    assert record["task"]["name"] == "svamp"
    assert record["recipe"]["steps"] == 6
    assert record["base_model"] == "scratch"
    assert record["data"]["train_rows"] == 48
    assert record["metrics"]["validation"]["rows"] == 12
    assert record["metrics"]["test"]["rows"] == 10
    examples = [json.loads(line) for line in (out / "examples.jsonl").read_text().splitlines()]
    assert len(examples) == 60
    assert all(evaluate_equation(example["label"]) is not None for example in examples)
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
    assert load_config(path) == load_config(RECIPE, [*arguments[1:], "beta=0.25"])
    assert main(["--print-config", *arguments, "beta=high"]) == 2
    assert capsys.readouterr().out == ""


def test_every_term_is_logged(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for term in ("loss_predict", "loss_explain", "loss_mi"):
        assert f"'{term}'" in printed
        assert f"'eval_{term}'" in printed
    assert "'eval_mi_bound'" in printed


def test_the_options_of_an_objective(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["temperature=0.2", "mask_same_label=true", "beta_warmup_steps=4", "detach=explain"]
    more = ["alpha_by_entropy=true", "cascade=true"]
    assert main([*arguments, "objective=mi-infonce", *options, *more]) == 0
    printed = capsys.readouterr().out
    assert "'loss_mi'" in printed
    assert "'alpha'" in printed
    out = tmp_path / "out"
    recipe = json.loads((out / "student.json").read_text())["recipe"]
    assert (recipe["temperature"], recipe["detach"], recipe["reduction"]) == (0.2, "explain", None)
    rows = [json.loads(line) for line in (out / "examples.jsonl").read_text().splitlines()]
    assert all(row["rationale"].endswith(f" So the answer is {row['label']}.") for row in rows)
    _, loading = T5ForConditionalGeneration.from_pretrained(out, output_loading_info=True)
    assert not loading["unexpected_keys"]


def test_teacher_rationales_may_be_missing(arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    rows = [json.loads(line) | {"rationale": None} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("steps=0", "steps: "),
        ("data.train=/nowhere.jsonl", "/nowhere.jsonl: No such file"),
        ("validation_rows=60", "60 usable training rows"),
        ("model=/no/such/model", "model: /no/such/model cannot be loaded as a T5"),
        ("output_dir=/dev/null", "Not a directory"),
    ],
)
def test_what_is_wrong_takes_one_line_and_exit_code_2(
    arguments: list[str], change: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, change]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("distill:")]
    assert complaint in line


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


def save_pretrained(folder: Path) -> None:
    student = tiny_student()
    student.model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)


def test_two_recipes_never_mix_in_one_folder(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    assert main([*arguments, "beta=0.5"]) == 2
    assert "holds a student of another recipe" in capsys.readouterr().err


def test_two_data_sets_never_mix_in_one_folder(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    write_problems(tmp_path / "train.jsonl", rows=60, seed=7)
    assert main(arguments) == 2
    assert "or of other data" in capsys.readouterr().err


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_where_it_was(
    arguments: list[str], tmp_path: Path, end: signal.Signals
) -> None:
    command = [sys.executable, "training/distill.py", *arguments, "steps=60", "eval_every=4"]
    run = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # a background job's children ignore it from the start
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    output = b""
    while b"'eval_loss'" not in output or not output.endswith(b"}"):
        output += (byte := run.stdout.read(1))
        assert byte, output.decode()
    while not list((tmp_path / "out" / "checkpoints").glob("checkpoint-*/trainer_state.json")):
        assert run.poll() is None
    (tmp_path / "out" / "checkpoints" / "checkpoint-39").mkdir()  # half a checkpoint
    run.send_signal(end)
    rest, _ = run.communicate(timeout=60)
    assert b"Traceback" not in rest
    if end == signal.SIGINT:
        assert run.returncode == 130
        assert b"the same command goes on" in rest
    assert not (tmp_path / "out" / "student.json").exists()
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "student.json").exists()
    first_log = b"'epoch': 0.67"
    assert first_log in output
    assert first_log.decode() not in again.stdout  # what was done is not done again
