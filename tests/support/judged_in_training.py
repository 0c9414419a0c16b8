"""What the evaluation within a training says of a student's labels, for tests."""

from collections.abc import Sequence
from pathlib import Path

from transformers import Seq2SeqTrainingArguments

from tests.support.tiny_students import Student
from training.data.batches import JudgedExamples, TwoPassCollator
from training.evaluation.label_accuracy import LabelAccuracy
from training.evaluation.labelled import LabelledRow
from training.objectives import Options
from training.student.files import Example, StudentInterface
from training.student.unpadded import UnpaddedT5
from training.trainer import TwoPassTrainer


def judged_in_training(
    student: Student, facts: StudentInterface, rows: Sequence[LabelledRow], folder: Path
) -> tuple[dict[str, float], Sequence[bool]]:
    """The metrics of an evaluation on rows, and which of them are right."""
    judged = JudgedExamples(
        [Example(row.input, row.gold, row.reference) for row in rows],
        facts.task,
        student.tokenizer,
        max_input_tokens=facts.max_input_tokens,
        max_label_tokens=facts.max_label_tokens,
        max_rationale_tokens=facts.max_rationale_tokens,
        place="validation",
    )
    model = UnpaddedT5(student.model.config)
    model.load_state_dict(student.model.state_dict())
    accuracy = LabelAccuracy(facts.task, student.tokenizer)
    trainer = TwoPassTrainer(
        model,
        Seq2SeqTrainingArguments(
            output_dir=str(folder),
            report_to="none",
            per_device_eval_batch_size=7,
            generation_max_length=facts.max_label_tokens,
            remove_unused_columns=False,
            include_for_metrics=["loss"],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        data_collator=TwoPassCollator(0, 0, facts.task.explain_given_label),
        eval_dataset=judged,
        compute_metrics=accuracy,
        objective="dss",
        options=Options(),
    )
    return trainer.evaluate(), accuracy.right
