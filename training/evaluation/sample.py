"""A sample of rows that a student explains during training, to measure rationale health."""

import copy
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from training.config import DistillConfig
from training.data.row import DataError
from training.evaluation.checkpoint import Checkpoint
from training.evaluation.health import equals_reference, health_shares, measure_health
from training.evaluation.labelled import LabelledRow, labelled_examples
from training.evaluation.model import ModelError
from training.student.files import Example, StudentInterface
from training.student.load import Student

WHILE_TRAINING = 64  # rows, at every evaluation
AT_THE_END = 256
ALARMING = 0.1  # a share of rationales that are no reasons

log = logging.getLogger("duet.distill")


@dataclass(frozen=True)
class RationaleSample:
    """Rows, and the student that explains them as a service would, with its present weights."""

    model: Checkpoint
    rows: list[LabelledRow]
    alarmed: set[str] = field(default_factory=set)  # the faults that were warned of

    @classmethod
    def draw(
        cls, config: DistillConfig, student: Student, examples: Sequence[Example], size: int
    ) -> Self:
        """Up to `size` examples, the same at every call. Those with a rationale come first."""
        shuffled = random.Random(0).sample(examples, len(examples))
        shuffled.sort(key=lambda example: example.rationale is None)
        interface = StudentInterface.model_validate(config, from_attributes=True)
        # asking sets a limit in the tokenizer, which must not be saved with the student
        student = student._replace(tokenizer=copy.deepcopy(student.tokenizer))
        return cls(
            Checkpoint(config.output_dir, interface, student),
            labelled_examples(shuffled[:size], config.task, "validation"),
        )

    def measure(self) -> dict[str, float]:
        """The shares of `health_shares`, and `reference`: rationales that equal the row's own.

        Empty, with a warning, if the student cannot answer. A share above ALARMING is a warning,
        once.
        """
        try:
            records = [*self.model.answers(self.rows)]
        except (ModelError, DataError) as error:
            log.warning("rationales were not measured: %s", error)
            return {}
        shares = health_shares(measure_health(records, self.model.task))
        same = [one for record in records if (one := equals_reference(record)) is not None]
        if same:
            shares["reference"] = sum(same) / len(same)
        for name, what in (("bare_label", "only a label"), ("glued", "glued to pieces of labels")):
            if shares[name] > ALARMING and name not in self.alarmed:
                self.alarmed.add(name)
                log.warning(
                    "warning: %.0f%% of %d rationales are %s; look at the objective and at the "
                    "rationales of the data (training/README.md, Rationale health)",
                    100 * shares[name],
                    len(records),
                    what,
                )
        return {name: round(share, 4) for name, share in shares.items()}
