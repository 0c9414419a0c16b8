"""The output folder: the run that it belongs to, its checkpoints, and at the end the student."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import T5ForConditionalGeneration

from tasks.durable_files import replace_text
from training.config import DistillConfig
from training.data.splits import Splits
from training.run.differences import differences
from training.student.files import (
    RECORD,
    LearntData,
    Metrics,
    Recipe,
    StudentError,
    StudentInterface,
    StudentRecord,
    Vocabulary,
    read_record,
    write_calibration,
    write_examples,
    write_record,
)
from training.student.load import Student
from training.student.model_card import render_card
from training.yaml_files import ConfigError

EXPORT_EXAMPLES = 5000  # rows kept beside the student, the validation rows first, for export
_IN_RECIPE = StudentInterface.model_fields.keys() & DistillConfig.model_fields.keys()


class Output:
    """An output folder and its run."""

    def __init__(self, config: DistillConfig, splits: Splits, command: str) -> None:
        self.config = config
        self.splits = splits
        self.command = command
        self.folder = config.output_dir
        self.checkpoints = config.output_dir / "checkpoints"

    def claim(self, force: bool = False) -> bool:
        """Whether the folder holds this run's student already. If not, it becomes this run's.

        Raises ConfigError if it holds a run of another recipe or of other data, unless forced.
        """
        recipe = self.folder / "recipe.json"
        run = {
            "recipe": self.config.model_dump(mode="json"),
            "data": self.splits.fingerprint(),
        }
        if recipe.is_file() and not force:
            try:
                changes = _changes(json.loads(recipe.read_bytes()), run)
            except ValueError:
                changes = [f"{recipe} is not JSON"]
            if changes:
                raise ConfigError(
                    f"output_dir: {self.folder} holds a run that differs: {'; '.join(changes)}. "
                    "Choose another output_dir, or go on with the new recipe by --force"
                )
        if self._has_student_of(run):
            return True
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        replace_text(recipe, json.dumps(run, indent=2) + "\n")
        return False

    def whole_checkpoints(self) -> list[Path]:
        """The complete checkpoints, by step. A killed run may leave an incomplete one."""
        checkpoints = []
        for state in self.checkpoints.glob("checkpoint-*/trainer_state.json"):
            try:
                json.loads(state.read_bytes())  # written last, and perhaps not to its end
            except ValueError:
                continue
            checkpoints.append(state.parent)
        return sorted(checkpoints, key=step_of)

    def write_student(
        self,
        model: T5ForConditionalGeneration,
        student: Student,
        metrics: Metrics,
        steps: list[int],
        explains: bool,
    ) -> None:
        """Writes the trained student, and its record for export.

        `steps` is the step of its weights, or the steps whose mean they are. `explains` says
        whether it learnt the explain pass.
        """
        (self.folder / RECORD).unlink(missing_ok=True)  # an earlier student's
        write_calibration(self.folder, None)
        model.save_pretrained(self.folder)
        student.tokenizer.save_pretrained(self.folder)
        record = self._record(student, metrics, explains)
        write_examples(self.folder, (self.splits.validation + self.splits.train)[:EXPORT_EXAMPLES])
        card = render_card(
            "training.run",
            record=record,
            task=record.task,
            metrics=record.metrics,
            parameters=model.num_parameters(),
            steps=steps,
        )
        (self.folder / "README.md").write_text(card, encoding="utf-8")
        write_record(self.folder, record)  # last, as it says that all is there

    def _has_student_of(self, run: dict[str, Any]) -> bool:
        try:
            record = read_record(self.folder)
        except StudentError:
            return False
        found = {"recipe": record.recipe.model_dump(), "data": record.data.fingerprint}
        return found == run

    def _record(self, student: Student, metrics: Metrics, explains: bool) -> StudentRecord:
        config, splits = self.config, self.splits
        return StudentRecord(
            **{name: getattr(config, name) for name in _IN_RECIPE},
            explains=explains,
            recipe=Recipe(**config.model_dump(mode="json")),
            seed=config.seed,
            base_model=config.model if isinstance(config.model, str) else "scratch",
            vocabulary=Vocabulary(pieces=len(student.tokenizer), dropped=student.dropped_pieces),
            license=config.license,
            data=LearntData(
                fingerprint=splits.fingerprint(),
                train_rows=len(splits.train),
                validation_rows=len(splits.validation),
                reports=splits.reports,
            ),
            metrics=metrics,
            code_version=version("duet"),
            command=self.command,
        )


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    changes = differences(old.get("recipe", {}), new["recipe"])
    if old.get("data") != new["data"]:
        changes.append("the rows of the data are others")
    return changes
