"""From rows to a student by two commands, and with a hub that can be reached."""

import json
from pathlib import Path

from tests.support.fake_hub import fake_hub
from tests.support.pretrained_t5 import write_pretrained
from tests.support.programs import run
from tests.support.seeded_rows import make_rows, write_rows
from tests.support.tickets import ticket
from training.config import load_config


def test_two_commands_lead_to_a_student(tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", make_rows(ticket, 60, seed=0))
    recipe, student = tmp_path / "tickets.yaml", tmp_path / "student"
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "MAKELEVEL": ""}
    done = run("duet", "init", tmp_path / "tickets.jsonl", "--out", recipe, **offline)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"\nThe recipe is {recipe}. Read it, then: duet distill {recipe}\n" in done.stdout
    changes = ("steps=3", "eval_every=3", f"output_dir={student}")
    trained = run("duet", "distill", recipe, *changes, **offline)
    assert trained.returncode == 0, trained.stderr
    record = json.loads((student / "student.json").read_text())
    assert record["data"]["train_rows"] == 48


def test_a_hub_that_can_be_reached_gives_a_pretrained_base(tmp_path: Path) -> None:
    write_rows(tmp_path / "tickets.jsonl", make_rows(ticket, 40, seed=0))
    recipe = tmp_path / "tickets.yaml"
    name = "google/flan-t5-small"
    weights = write_pretrained(tmp_path / "t5") / "model.safetensors"
    weights.unlink()  # to write a recipe, they need not be loaded
    with fake_hub(name, tmp_path / "t5") as (address, asked):
        done = run(
            *("duet", "init", tmp_path / "tickets.jsonl", "--out", recipe),
            HF_ENDPOINT=address,
            HF_HOME=str(tmp_path / "home"),
            OMP_NUM_THREADS="1",
            CUDA_VISIBLE_DEVICES="",
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert asked[0] == f"api/models/{name}"
    config = load_config(recipe)
    assert (config.model, config.learning_rate) == (name, 3e-4)
    assert f"model: {name}  # pretrained, of a size for a CPU\n" in recipe.read_text()
