from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import EvalPrediction, Seq2SeqTrainingArguments

from tests.students import tiny_student
from training.batches import IGNORED, TokenizedExamples, TwoPassCollator
from training.data import Example
from training.objectives import Pass, Weights, cross_entropy, mutual_information_loss
from training.student import train_tokenizer
from training.tasks import TASKS
from training.trainer import LabelAccuracy, TwoTaskTrainer

SVAMP = TASKS["svamp"]
WEIGHTS = Weights(alpha=0.3, beta=0.2, reduction="mean")


def a_trainer(folder: Path, objective: str) -> TwoTaskTrainer:
    model = tiny_student().model
    arguments = Seq2SeqTrainingArguments(output_dir=str(folder), report_to="none")
    return TwoTaskTrainer(model, arguments, objective=objective, weights=WEIGHTS)


def a_batch() -> dict[str, dict[str, torch.Tensor]]:
    tokenizer = tiny_student().tokenizer
    examples = [
        Example({"text": "Ann has 3 pens and 4 more."}, "( 3 + 4 )", "3 + 4 is 7."),
        Example({"text": "Ben has 9."}, "9", None),
    ]
    limits = dict.fromkeys(("max_input_tokens", "max_label_tokens", "max_rationale_tokens"), 32)
    rows = TokenizedExamples(examples, SVAMP, tokenizer, **limits)
    return TwoPassCollator(pad_id=0, decoder_start_id=0)([rows[0], rows[1]])


@pytest.mark.parametrize("objective", ["finetune", "dss", "mi"])
def test_the_loss_is_the_objective_of_both_passes(tmp_path: Path, objective: str) -> None:
    trainer, batch = a_trainer(tmp_path, objective), a_batch()
    model = trainer.model.eval()
    predict, explain = (
        Pass(
            model(
                input_ids=one["input_ids"],
                attention_mask=one["attention_mask"],
                labels=one["labels"],
            ).logits,
            one["labels"],
        )
        for one in (batch["predict"], batch["explain"])
    )
    label, rationale = cross_entropy(predict), cross_entropy(explain)
    information = mutual_information_loss(predict, explain, "mean")
    expected = {
        "finetune": label,
        "dss": 0.3 * label + 0.7 * rationale,
        "mi": 0.3 * label + 0.7 * rationale + 0.2 * information,
    }
    loss = trainer.compute_loss(model, batch)
    torch.testing.assert_close(loss, expected[objective])


def evaluation(predictions: list[str], labels: list[str], losses: list[float]) -> dict[str, float]:
    tokenizer = train_tokenizer(["( 1 + 2 ) * 3"], vocab_size=320)

    def padded(texts: list[str]) -> np.ndarray:
        ids = [tokenizer(text)["input_ids"] for text in texts]
        longest = max(map(len, ids))
        return np.array([row + [IGNORED] * (longest - len(row)) for row in ids])

    results = EvalPrediction(padded(predictions), padded(labels), losses=np.array(losses))
    return LabelAccuracy(SVAMP, tokenizer)(results)


def test_accuracy_is_by_value_and_exact_by_text() -> None:
    measured = evaluation(
        ["( 1 + 2 )", "( 2 + 1 )", "( 3 - 1 )", "3"],
        ["( 1 + 2 )", "( 1 + 2 )", "( 1 + 2 )", "( 1 + 2 )"],
        [1.0],
    )
    assert (measured["accuracy"], measured["exact"]) == (0.75, 0.25)


def test_of_equally_accurate_steps_the_lower_loss_is_selected() -> None:
    better = evaluation(["3", "4"], ["3", "1"], [0.5, 0.7])["selection"]
    worse = evaluation(["3", "4"], ["3", "1"], [0.9, 0.7])["selection"]
    more_accurate = evaluation(["3", "1"], ["3", "1"], [9.0, 9.0])["selection"]
    assert worse < better < more_accurate
