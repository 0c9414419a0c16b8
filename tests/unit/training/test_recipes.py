import json
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from examples.word_problems.operations import OPERATIONS
from tasks.builtin import TASKS
from tests.conftest import ROOT
from tests.support.dss_archive import write_archive
from tests.support.tiny_students import tiny_student
from training.config import DistillConfig, load_config
from training.data.splits import load_splits
from training.distill import main

RECIPES = ROOT / "training" / "recipes"
WORD_PROBLEMS = ROOT / "examples" / "word_problems" / "recipes"
STAGES = (
    "word-problems",
    "word-problems-noisy",
    "word-problems-explained",
    "svamp-numbers",
    "svamp-operations",
)
PRETRAINED = ("t5-v1_1-small", "t5-v1_1-base", "flan-t5-base")
# of the student from scratch, and of the pretrained ones
LICENSES = {
    "esnli": ("cc-by-sa-4.0", "cc-by-sa-4.0"),
    "anli1": ("cc-by-nc-4.0", "cc-by-nc-4.0"),
    "cqa": ("bsd-3-clause", "apache-2.0"),
    "svamp": ("mit", "apache-2.0"),
}
SPLITS = {
    "esnli": {"train": 24, "valid": 8, "test": 6},
    "anli1": {"train": 24, "valid": 8, "test": 6},
    "cqa": {"train": 32, "test": 6},
    "svamp": {"train": 32, "test": 6},
}
HYPERPARAMETERS = {
    "objective",
    "alpha",
    "beta",
    "steps",
    "batch_size",
    "learning_rate",
    "warmup_steps",
    "lr_scheduler",
    "weight_decay",
    "eval_every",
    "max_input_tokens",
    "max_label_tokens",
    "max_rationale_tokens",
    "seed",
}

each_data_set = pytest.mark.parametrize("data", SPLITS)
each_model = pytest.mark.parametrize("model", PRETRAINED)


def recipe_of(data: str, model: str) -> Path:
    return RECIPES / f"{data}-{model}.yaml"


def config_of(data: str, model: str, *overrides: str) -> DistillConfig:
    return load_config(recipe_of(data, model), list(overrides))


def test_there_is_one_for_each_data_set_and_model() -> None:
    expected = {recipe_of(data, model) for data in SPLITS for model in ("mini", *PRETRAINED)}
    assert set(RECIPES.glob("*.yaml")) == expected
    stages = {WORD_PROBLEMS / f"{name}.yaml" for name in STAGES}
    assert set(WORD_PROBLEMS.glob("*.yaml")) == stages


def test_later_stages_go_on_from_the_first() -> None:
    stages = [load_config(WORD_PROBLEMS / f"{name}.yaml") for name in STAGES]
    first, second, third, equations, operations = stages
    assert second.model == str(first.output_dir)
    assert third.model == str(second.output_dir)
    assert equations.model == str(third.output_dir)
    assert operations.model == str(second.output_dir)
    task = TASKS["svamp"].model_copy(update={"numbers": "masked"})
    assert first.task == second.task == task
    task = task.model_copy(update={"numbers": "counted", "explain_given_label": True})
    assert third.task == equations.task == task
    assert operations.task.labels == OPERATIONS
    assert (operations.task.numbers, operations.task.explain_given_label) == ("masked", False)
    for name in ("max_input_tokens", "max_label_tokens", "max_rationale_tokens"):
        assert len({getattr(stage, name) for stage in stages}) == 1


@each_data_set
def test_recipes_of_a_data_set_differ_in_the_student_alone(data: str) -> None:
    mini = config_of(data, "mini")
    for model in ("mini", *PRETRAINED):
        config = config_of(data, model)
        assert config.name == f"{data}-{model}"
        assert config.output_dir == Path("runs") / config.name
        assert config.task == TASKS[data]
        assert (config.data, config.examples) == (mini.data, mini.examples)
        assert config.validation_rows == mini.validation_rows
        assert config.license == LICENSES[data][model != "mini"]
    texts = {config.task.render(example) for example in mini.examples}
    assert len(texts) == 3


@each_data_set
def test_the_official_splits_are_taken(data: str) -> None:
    source = config_of(data, "mini").data
    assert (source.format, source.path) == ("dss", Path("data/dss"))
    assert {source.train, source.test} <= SPLITS[data].keys()
    assert source.validation == ("valid" if "valid" in SPLITS[data] else None)


@each_data_set
@each_model
def test_pretrained_students_have_the_papers_settings(data: str, model: str) -> None:
    config = config_of(data, model)
    assert config.model == f"google/{model}"
    assert config.model_dump(include=HYPERPARAMETERS) == {
        "objective": "mi-infonce",
        "alpha": 0.5,
        "beta": 0.1,
        "steps": 10_000,
        "batch_size": 64,
        "learning_rate": 5e-5,
        "warmup_steps": 0,
        "lr_scheduler": "linear",
        "weight_decay": 0.0,
        "eval_every": 250,
        "max_input_tokens": 1024,
        "max_label_tokens": 256,
        "max_rationale_tokens": 256,
        "seed": 0,
    }


def test_what_must_not_be_sold_says_so() -> None:
    for recipe in RECIPES.glob("anli1-*.yaml"):
        assert "commercially" in recipe.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dss")
    for data, splits in SPLITS.items():
        write_archive(folder, data, splits)
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    student = tiny_student("v1_1")
    student.model.save_pretrained(folder)
    student.tokenizer.save_pretrained(folder)
    return folder


def distilled(data: str, model: str, archive: Path, out: Path, *overrides: str) -> dict[str, dict]:
    """What is written of the student of two steps."""
    assert (
        main(
            [
                str(recipe_of(data, model)),
                f"data.path={archive}",
                f"output_dir={out}",
                "steps=2",
                "eval_every=2",
                "batch_size=4",
                "validation_rows=8",
                *overrides,
            ]
        )
        == 0
    )
    record = json.loads((out / "student.json").read_text())
    assert record["task"]["name"] == data
    assert record["license"] == LICENSES[data][model != "mini"]
    assert (record["data"]["train_rows"], record["data"]["validation_rows"]) == (24, 8)
    assert record["metrics"]["test"]["rows"] == 6
    (train, *_) = record["data"]["reports"]
    assert "1 without a rationale; 1 × completion without an answer (first: line 1)" in train
    return record


@each_data_set
def test_the_minis_run(data: str, archive: Path, tmp_path: Path) -> None:
    tiny = {
        "vocab_size": 400,
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 16,
        "num_layers": 1,
        "num_decoder_layers": 1,
        "num_heads": 2,
    }
    overrides = [f"model.scratch.{key}={value}" for key, value in tiny.items()]
    record = distilled(data, "mini", archive, tmp_path, *overrides)
    assert record["base_model"] == "scratch"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for example in record["recipe"]["examples"]:
        text = TASKS[data].explain_prefix + TASKS[data].render(example)
        assert len(tokenizer(text)["input_ids"]) <= record["max_input_tokens"]


@each_data_set
@each_model
def test_the_pretrained_run(
    data: str, model: str, archive: Path, pretrained: Path, tmp_path: Path
) -> None:
    record = distilled(data, model, archive, tmp_path, f"model={pretrained}", "max_label_tokens=16")
    assert record["base_model"] == str(pretrained)


@pytest.mark.parametrize(
    ("data", "overrides", "rows"),
    [
        ("svamp", [], (700, 100, 100)),
        ("cqa", [], (8767, 974, 610)),
        # what is missing of these in the folder is replaced by their validation rows
        ("anli1", ["data.train=valid", "data.test=null"], (1000, 1000, 0)),
        (
            "esnli",
            [
                "data.train=valid",
                "data.test=null",
                "data.rationales=human",
                "data.max_rationales=1",
            ],
            (9842, 2000, 0),
        ),
    ],
)
def test_the_real_data_loads(
    real_data: Path, data: str, overrides: list[str], rows: tuple[int, int, int]
) -> None:
    splits = load_splits(config_of(data, "mini", f"data.path={real_data / 'dss'}", *overrides))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == rows
    told = [report for report in splits.reports if not report.startswith("warning: ")]
    assert all(", 0 dropped, " in report for report in told)
