"""The output folder: the run that it belongs to, its checkpoints, and at the end the student."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import (
    T5ForConditionalGeneration,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

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

    def is_finished(self, force: bool = False) -> bool:
        """Whether the folder holds this run's student already.

        Raises ConfigError if it holds a run of another recipe or of other data, unless forced.
        """
        recipe, run = self.folder / "recipe.json", self._run()
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
        try:
            record = read_record(self.folder)
        except StudentError:
            return False
        found = {"recipe": record.recipe.model_dump(), "data": record.data.fingerprint}
        return found == run

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Makes the folder. A run that fails before it has claimed the folder leaves no trace."""
        there = self.folder.exists()
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        try:
            yield
        except BaseException:
            with suppress(OSError):  # there is something in it, which stays
                self.checkpoints.rmdir()
                if not there:
                    self.folder.rmdir()
            raise

    def claim(self) -> None:
        """Notes that the folder belongs to this run from now on."""
        replace_text(self.folder / "recipe.json", json.dumps(self._run(), indent=2) + "\n")

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

    def _run(self) -> dict[str, Any]:
        """What decides whose run it is: the recipe and the rows."""
        return {
            "recipe": self.config.model_dump(mode="json"),
            "data": self.splits.fingerprint(),
        }

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


class ClaimAtFirstStep(TrainerCallback):
    """Claims a run's folder when a step is done, so that a run that cannot begin claims none."""

    def __init__(self, output: Output) -> None:
        self.output: Output | None = output

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.output is not None and state.is_world_process_zero:
            self.output.claim()
            self.output = None


def is_distilled(config: DistillConfig) -> bool:
    """Whether `output_dir` holds a student of this recipe, whatever the rows were."""
    try:
        record = read_record(config.output_dir)
    except StudentError:
        return False
    return record.recipe.model_dump() == config.model_dump(mode="json")


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    changes = differences(old.get("recipe", {}), new["recipe"])
    if old.get("data") != new["data"]:
        changes.append("the rows of the data are others")
    return changes
