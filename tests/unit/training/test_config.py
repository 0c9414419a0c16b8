import json
import re
from pathlib import Path

import pytest
import yaml

from training.config import OPTIONS, ConfigError, dump_config, load_config
from training.tasks import TASKS

RECIPES = Path(__file__).parents[3] / "training" / "recipes"
MINI = RECIPES / "svamp-mini.yaml"


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_recipes_are_valid_and_named_after_their_files(recipe: Path) -> None:
    config = load_config(recipe)
    assert config.name == recipe.stem
    assert config.output_dir == Path("runs") / recipe.stem
    for example in config.examples:
        assert set(example) == set(config.task.fields)


def test_overrides_are_laid_over_the_recipe() -> None:
    config = load_config(
        MINI, ["steps=7", "objective=dss", "model.scratch.d_ff=64", "data.labels=teacher"]
    )
    assert (config.steps, config.objective) == (7, "dss")
    assert config.model.scratch.d_ff == 64
    assert config.data.labels == "teacher"
    assert config.task == TASKS["svamp"]


def test_a_task_of_ones_own() -> None:
    task = "{name: tone, fields: [text], template: '{{text}}'}"
    config = load_config(MINI, [f"task={task}", "data={format: jsonl, train: rows.jsonl}"])
    assert config.task.name == "tone"
    assert config.data.train == Path("rows.jsonl")
    assert config.data.test is None


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("steps=many", "steps: Input should be a valid integer"),
        ("steps=0", "steps: Input should be greater than 0"),
        ("stepz=3", "stepz: Extra inputs are not permitted"),
        ("objective=magic", "objective: Input should be 'finetune', 'dss', 'mi-official', 'mi'"),
        ("objective=[mi]", "objective: Input should be 'finetune', 'dss', 'mi-official', 'mi'"),
        ("temperature=0.2", "temperature: Value error, no option of mi, but of mi-infonce"),
        ("mask_same_label=false", "mask_same_label: Value error, no option of mi, but of"),
        ("reduction=min", "reduction: Input should be 'max' or 'mean'"),
        ("detach=both", "detach: Input should be 'predict', 'explain' or 'none'"),
        ("beta_warmup_steps=-1", "beta_warmup_steps: Input should be greater than or equal to 0"),
        ("steps=null", "steps: Input should be a valid integer"),
        ("task=magic", "no built-in task 'magic'; there are esnli, anli1, cqa, svamp"),
        ("data.format=xml", "data: Input tag 'xml'"),
        ("data.path=[]", "data.dss.path: Input is not a valid path"),
        ("data.labels=silver", "data.dss.labels: Input should be 'gold' or 'teacher'"),
        ("data.columns={}", "data.dss.columns: Extra inputs are not permitted"),
        ("data.max_rationales=0", "data.dss.max_rationales: Input should be greater than 0"),
        ("data.filters.length=3", "data.dss.filters.length: Extra inputs are not permitted"),
        ("data={format: jsonl, train: a, group_test: true}", "there are no test rows"),
        ("data={format: csv, train: a, validation: b, group_by: '{{text}}'}", "leave it out"),
        (
            "data={format: dss, path: a, rationales: human, filters: {teacher_correct: rationale}}",
            "human rationales are not the teacher's",
        ),
        ("alpha=2", "alpha: Input should be less than or equal to 1"),
        ("steps", "expected key=value"),
        ("=3", "expected key=value"),
        ("steps=[", "the value is not YAML"),
        ("steps.of=3", "steps of the recipe has no keys below it"),
        ("trim_vocab=true", "trim_vocab: Value error, only of a pretrained model"),
        ("name=../up", "name: String should match"),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
        ("learning_rate=.inf", "learning_rate: Input should be a finite number"),
        ("examples=[{txt: a}]", "an example must give each of ['text'] a text"),
        ("examples=[{text: ' '}]", "an example must give each of ['text'] a text"),
        ("task={name: t, fields: [a], template: '{{b}}'}", "the template fails on a"),
    ],
)
def test_a_bad_override_is_named(override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(MINI, [override])
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("finetune", {}),
        ("dss", {"alpha_by_entropy": False, "cascade": False}),
        ("mi-official", {"cascade": False}),
        (
            "mi",
            {
                "alpha_by_entropy": False,
                "cascade": False,
                "beta_warmup_steps": 0,
                "reduction": "max",
                "detach": "predict",
            },
        ),
        (
            "kl",
            {
                "alpha_by_entropy": False,
                "cascade": False,
                "beta_warmup_steps": 0,
                "reduction": "max",
                "detach": "none",
            },
        ),
        (
            "mi-infonce",
            {
                "alpha_by_entropy": False,
                "cascade": False,
                "beta_warmup_steps": 0,
                "detach": "none",
                "temperature": 0.1,
                "mask_same_label": False,
            },
        ),
    ],
)
def test_an_objective_has_its_options_and_no_others(
    objective: str, expected: dict[str, object]
) -> None:
    config = load_config(MINI, [f"objective={objective}"])
    assert {
        key: value for key in OPTIONS if (value := getattr(config, key)) is not None
    } == expected
    for option in OPTIONS.keys() - expected.keys():
        value = {"reduction": "max", "detach": "none", "beta_warmup_steps": 0}.get(option, 1)
        with pytest.raises(ConfigError, match=rf"{option}: .*no option of {objective}"):
            load_config(MINI, [f"objective={objective}", f"{option}={value}"])


def test_a_recipe_that_is_written_out_reads_the_same(tmp_path: Path) -> None:
    changes = ["objective=mi-infonce", "temperature=0.05", "learning_rate=1e-5"]
    config = load_config(MINI, [*changes, "examples=[{text: 'Zoë: \"no\" # 1'}]"])
    path = tmp_path / "written.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path) == config


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a: [", "not YAML"),
        (b"- a\n", "expected keys and values"),
        (b"\xff\xfe", "cannot be read"),
        (b"name: x\n", "task: Field required"),
    ],
)
def test_a_bad_recipe_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value).startswith(str(path))
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_the_readmes_data_section_is_valid() -> None:
    readme = (RECIPES.parents[1] / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(data:\n.*?)```", readme, re.DOTALL)
    data = json.dumps(yaml.safe_load(shown)["data"])
    task = "{name: tone, fields: [review], template: '{{review}}'}"
    config = load_config(MINI, [f"task={task}", "examples=[]", f"data={data}"])
    assert config.data.columns["rationale"] == ["why_1", "why_2"]
    assert config.data.filters.duplicates
