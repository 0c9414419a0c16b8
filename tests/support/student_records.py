"""The record of a student, as training notes one."""

from tasks.builtin import TASKS
from training.student.files import LearntData, Recipe, StudentRecord, Vocabulary


def a_record() -> StudentRecord:
    return StudentRecord(
        name="tiny",
        task=TASKS["cqa"],
        max_input_tokens=64,
        max_label_tokens=8,
        max_rationale_tokens=24,
        recipe=Recipe(objective="dss", steps=3, learning_rate=5e-5, data={"a": None}),
        seed=7,
        base_model="scratch",
        vocabulary=Vocabulary(pieces=300, dropped=0),
        license="mit",
        data=LearntData(fingerprint="ab", train_rows=9, validation_rows=3, reports=["é: 12 rows"]),
        metrics={"validation": {"accuracy": 0.25, "rows": 3}},
        code_version="0.1.0",
        command="python training/distill.py recipe.yaml",
    )
