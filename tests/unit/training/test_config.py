import json
import re
from pathlib import Path

import pytest
import yaml

from tasks.builtin import TASKS
from tests.support.command_errors import complaint_of
from training.config import DistillConfig, Scratch, ScratchModel, dump_config, load_config
from training.defaults import OPTIONS
from training.yaml_files import ConfigError

RECIPES = Path(__file__).parents[3] / "training" / "recipes"
MINI = RECIPES / "svamp-mini.yaml"


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


def test_a_student_from_scratch_has_defaults_of_its_own(tmp_path: Path) -> None:
    recipe = yaml.safe_load(MINI.read_text())
    keys = ("steps", "learning_rate", "warmup_steps", "lr_scheduler")
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({name: recipe[name] for name in recipe if name not in keys}))

    def defaults(*overrides: str) -> list[object]:
        config = load_config(path, [*overrides])
        return [getattr(config, name) for name in keys]

    assert defaults() == [2_000, 2e-3, 100, "cosine"]
    assert defaults("model=google/flan-t5-base") == [10_000, 5e-5, 0, "linear"]
    assert defaults("steps=7", "lr_scheduler=linear") == [7, 2e-3, 100, "linear"]


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("steps=many", 'the command line: steps: expected a whole number, got "many"'),
        ("steps=0", "steps: expected more than 0, got 0"),
        ("stepz=3", "the command line: stepz: no such key; did you mean steps?"),
        ("objective=magic", "objective: expected 'finetune', 'dss', 'mi-infonce', 'mi-off"),
        ("objective=[mi]", "objective: expected 'finetune', 'dss', 'mi-infonce', 'mi-off"),
        ("objective=mi", "take mi-infonce, the default, or mi-unsafe for what `mi` was"),
        ("reduction=max", "reduction: no option of mi-infonce, but of mi-unsafe, kl"),
        ("reduction=min", "reduction: expected 'max' or 'mean', got \"min\""),
        ("detach=both", "detach: expected 'predict', 'explain' or 'none'"),
        ("beta_warmup_steps=-1", "beta_warmup_steps: expected at least 0, got -1"),
        ("steps=null", "steps: expected a whole number"),
        ("task=magic", "no built-in task 'magic'; there are esnli, anli1, cqa, svamp"),
        ("data.format=xml", "data: 'format' is 'xml', expected one of 'dss', "),
        ("data.path=[]", "data.path: expected a path"),
        ("data.labels=silver", "data.labels: expected 'gold' or 'teacher', got \"silver\""),
        ("data.columns={}", "data.columns: no such key"),
        ("data.max_rationales=0", "data.max_rationales: expected more than 0"),
        ("data.filters.length=3", "data.filters.length: no such key"),
        ("data={format: jsonl, train: a, group_test: true}", "there are no test rows"),
        ("data={format: csv, train: a, validation: b, group_by: '{{text}}'}", "leave it out"),
        (
            "data={format: dss, path: a, rationales: human, filters: {teacher_correct: rationale}}",
            "human rationales are not the teacher's",
        ),
        ("alpha=2", "alpha: expected at most 1, got 2"),
        ("steps", "expected key=value"),
        ("=3", "expected key=value"),
        ("steps=[", "not YAML (line 1, column 2: expected the node content"),
        ("steps=2024-13-45", "not YAML (month must be in 1..12)"),
        ("steps=" + "[" * 5000, "not YAML (maximum recursion depth exceeded"),
        ("model=3", "model: expected the name or path of a T5, or `scratch:` with a geometry"),
        ("model=''", "model: expected text, found none"),
        ("model.scratch=3", "model.scratch: expected keys and values"),
        ("model.scratch.heads=6", "model.scratch.heads: no such key; did you mean num_heads?"),
        ("model={scratch: {}}", "the command line: model.scratch.vocab_size: missing; model"),
        ("model.scratch.d_ff.up=3", "d_ff of the recipe has no keys below it"),
        ("data=null", "data: expected keys and values"),
        ("data={path: data/dss}", "data: 'format' is missing"),
        ("data={format: dss}", "the command line: data.path: missing"),
        ("license=''", "license: expected text, found none"),
        ("output_dir=null", "output_dir: expected a path"),
        ("steps.of=3", "steps of the recipe has no keys below it"),
        ("trim_vocab=true", "trim_vocab: only of a pretrained model"),
        ("dropout_rate=0.1", "dropout_rate: only of a pretrained model; set model.sc"),
        ("name=../up", "name: expected 1 to 128 letters, digits, '.'"),
        ("seed=-1", "seed: expected at least 0"),
        ("learning_rate=.inf", "learning_rate: expected a finite number"),
        (
            "examples=[{txt: a}]",
            "examples: an example must give each of text a text",
        ),
        ("examples=[{text: ' '}]", "an example must give each of text a text"),
        (
            "task={name: t, fields: [a], template: '{{a}}', examples: [{a: b}]}",
            "task: examples stand beside the task: write them as the key `examples`",
        ),
        ("task={name: t, fields: [a], template: '{{b}}'}", "the template fails on a"),
        ("task={name: t, fields: [a], template: '{{a'}", "task: the template fails"),
        (
            "task={name: t, fields: [a], template: '{{a}}', labels: [yes, no]}",
            "task.labels.0: expected text, got true",  # YAML reads `yes` as true
        ),
    ],
)
def test_a_bad_override_is_named(
    override: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = complaint_of([str(MINI), override], capsys)
    assert complaint in line
    assert any(place in line for place in (str(MINI), "the command line: ", override[:20]))


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("finetune", {}),
        ("dss", {"alpha_by_entropy": False, "cascade": False}),
        ("mi-official", {"cascade": False}),
        (
            "mi-unsafe",
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


def test_every_key_of_a_recipe_has_a_description() -> None:
    for section in (DistillConfig, Scratch, ScratchModel):
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name}"


def test_a_complaint_says_where_the_key_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(MINI.read_bytes() + b"lerning_rate: 1\n")
    line = complaint_of([str(path), "trim_vocab=maybe", "data.filters.x=1"], capsys)
    assert line == (
        "distill: the command line: data.filters.x: no such key; "
        'trim_vocab: expected true or false, got "maybe"; '
        f"{path}: lerning_rate: no such key; did you mean learning_rate?"
    )


RECIPE = MINI.read_bytes()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "no such file"),
        (b"", "expected keys and values, such as `task: svamp`"),
        (b"# nothing\n", "expected keys and values"),
        (b"svamp\n", "expected keys and values"),
        (b"- task: svamp\n", "expected keys and values"),
        (b"a: [", "not YAML (line 1, column 5: expected the node content"),
        (b"a:\n\tb: 1\n", "not YAML (line 2, column 1: found character '\\t'"),
        (b"a: \x01\n", "not YAML (unacceptable character"),
        (b"[" * 99_999, "not YAML (maximum recursion depth exceeded"),
        (b"\xff\xfe", "cannot be read"),
        (b"name: x\n", "task: missing; data: missing; model: missing"),
        (RECIPE + b"---\n" + RECIPE, "column 1: but found another document)"),
        (RECIPE + b"steps: 3\n", "line 41, column 1: the key 'steps' stands twice)"),
        (RECIPE.replace(b"d_model", b"d_ff"), "the key 'd_ff' stands twice)"),
        (RECIPE + b"stepz: 3\n", "stepz: no such key; did you mean steps?"),
        (RECIPE + b"3: steps\n", "3: keys must be text"),
        (RECIPE + b"? [steps]\n: 3\n", "line 41, column 3: found unhashable key)"),
        (RECIPE + b"x: !!python/name:os.system\n", "line 41, column 4: could not determine"),
        (RECIPE.replace(b": 1500", b": !!int a"), "not YAML (invalid literal for int()"),
        (RECIPE.replace(b": 1500", b": " + b"1" * 5000), "not YAML (Exceeds the limit"),
        (RECIPE.replace(b"license: mit\n", b""), "license: missing"),
        (RECIPE.replace(b"  path: data/dss\n", b""), "yaml: data.path: missing"),
        (RECIPE.replace(b"  format: dss\n", b""), "data: 'format' is missing"),
        (RECIPE.replace(b"    d_ff: 512\n", b""), "yaml: model.scratch.d_ff: missing"),
        (RECIPE.replace(b": svamp\n", b": &a {name: *a}\n"), "task.name: expected text"),
    ],
)
def test_a_bad_recipe_is_named(
    tmp_path: Path,
    content: bytes | None,
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "bad.yaml"
    if content is not None:
        path.write_bytes(content)
    line = complaint_of([str(path)], capsys)
    assert line.startswith(f"distill: {path}: ")
    assert complaint in line


def test_the_data_section_of_the_training_page_is_valid() -> None:
    readme = (RECIPES.parent / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(data:\n.*?)```", readme, re.DOTALL)
    data = json.dumps(yaml.safe_load(shown)["data"])
    task = "{name: tone, fields: [review], template: '{{review}}'}"
    config = load_config(MINI, [f"task={task}", "examples=[]", f"data={data}"])
    assert config.data.columns["rationale"] == ["why_1", "why_2"]
    assert config.data.filters.duplicates
