import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Seq2SeqTrainingArguments, T5ForConditionalGeneration

from tasks.builtin import TASKS
from tests.support.tiny_students import answers, problems, tiny_student
from training.data.batch_sampler import ShuffledBatchSampler
from training.data.batches import TokenizedExamples, TwoPassCollator
from training.objectives import OBJECTIVES, Options
from training.student.contrastive import ContrastiveHeads
from training.student.files import Example
from training.student.load import as_trained
from training.student.passes import Pass, WholeBatch
from training.student.unpadded import UnpaddedT5
from training.trainer import HEADS, TwoPassTrainer

SVAMP = TASKS["svamp"]
OPTIONS = Options(alpha=0.3, beta=0.2, reduction="mean", detach="predict")

LEARNING = {"rows": 20, "max_steps": 60, "save_strategy": "no"}


def tokenized(examples: list[Example]) -> TokenizedExamples:
    limits = dict.fromkeys(("max_input_tokens", "max_label_tokens", "max_rationale_tokens"), 32)
    return TokenizedExamples(examples, SVAMP, tiny_student().tokenizer, **limits)


def known_problems(rows: int) -> TokenizedExamples:
    return tokenized(
        [
            Example({"text": text}, *answer)
            for text, answer in zip(problems(rows), answers(rows), strict=True)
        ]
    )


def unpadded(model: T5ForConditionalGeneration) -> UnpaddedT5:
    one = UnpaddedT5(model.config).eval()
    one.load_state_dict(model.state_dict())
    return one


def a_trainer(
    folder: Path, objective: str, options: Options = OPTIONS, rows: int = 8, **arguments: object
) -> TwoPassTrainer:
    torch.manual_seed(0)
    return TwoPassTrainer(
        unpadded(tiny_student(d_model=64, d_ff=128, dropout_rate=0).model),
        Seq2SeqTrainingArguments(
            output_dir=str(folder),
            report_to="none",
            per_device_train_batch_size=rows,
            per_device_eval_batch_size=5,
            generation_max_length=4,
            remove_unused_columns=False,
            learning_rate=3e-3,
            disable_tqdm=True,
            dataloader_pin_memory=False,
            **arguments,
        ),
        data_collator=TwoPassCollator(pad_id=0, decoder_start_id=0),
        train_dataset=known_problems(rows),
        eval_dataset=known_problems(rows),
        objective=objective,
        options=options,
        plan=ShuffledBatchSampler(
            [1] * rows, steps=int(str(arguments.get("max_steps", 1))), batch_size=rows
        ),
    )


def a_batch() -> dict[str, dict[str, torch.Tensor]]:
    rows = tokenized(
        [
            Example({"text": "Ann has 3 pens and 4 more."}, "( 3 + 4 )", "3 + 4 is 7."),
            Example({"text": "Ben has 9."}, "9", None),
            Example({"text": "Ann has 5 pens."}, "5", "Five it is."),
        ]
    )
    return TwoPassCollator(pad_id=0, decoder_start_id=0)([rows[0], rows[1], rows[2]])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_is_the_objective_of_both_passes(tmp_path: Path, objective: str) -> None:
    trainer, batch = a_trainer(tmp_path, objective), a_batch()
    model = trainer.model.eval()
    passes = []
    for one in (batch["predict"], batch["explain"]):
        output = model(
            input_ids=one["input_ids"],
            attention_mask=one["attention_mask"],
            labels=one["labels"],
            output_hidden_states=True,
        )
        passes.append(Pass(output.logits, one["labels"], output.decoder_hidden_states[-1]))
    heads = getattr(model, HEADS) if objective == "mi-infonce" else ContrastiveHeads(64)
    whole = WholeBatch.of(*passes, heads(*passes, "predict"))
    expected = OBJECTIVES[objective](*passes, OPTIONS, whole)["loss"]
    torch.testing.assert_close(trainer.compute_loss(model, batch), expected)


def test_batches_padded_by_other_processes_teach_the_same(tmp_path: Path) -> None:
    weights = []
    for workers in (0, 2):
        trainer = a_trainer(
            tmp_path, "mi-unsafe", max_steps=3, save_strategy="no", dataloader_num_workers=workers
        )
        trainer.train()
        weights.append(trainer.model.state_dict())
    assert all(weight.equal(weights[1][name]) for name, weight in weights[0].items())


def test_beta_rises_in_training_and_is_whole_in_evaluation(tmp_path: Path) -> None:
    trainer = a_trainer(tmp_path, "mi-unsafe", OPTIONS._replace(beta_warmup_steps=10))
    model, batch = trainer.model, a_batch()

    def loss(training: bool, step: int) -> float:
        model.train(training)
        trainer.state.global_step = step
        return trainer.compute_loss(model, batch).item()

    start, middle, end = (loss(True, step) for step in (0, 5, 10))
    assert start < middle < end
    assert middle - start == pytest.approx(end - middle, rel=1e-3)
    assert [loss(False, step) for step in (0, 5)] == pytest.approx([end, end])


@pytest.fixture(scope="module")
def learnt_with_dss(tmp_path_factory: pytest.TempPathFactory) -> TwoPassTrainer:
    trainer = a_trainer(tmp_path_factory.mktemp("dss"), "dss", **LEARNING)
    trainer.train()
    return trainer


@pytest.mark.parametrize(
    ("objective", "term", "share"),  # of what the term is after learning with dss
    [
        ("mi-official", "loss_mi", 1.0),  # little of it can be learnt
        ("mi-unsafe", "loss_mi", 0.9),
        ("kl", "loss_kl", 0.9),
        ("mi-infonce", "loss_mi", 0.9),
    ],
)
def test_an_objective_learns_both_tasks_and_its_term_better_than_dss(
    tmp_path: Path, learnt_with_dss: TwoPassTrainer, objective: str, term: str, share: float
) -> None:
    trainer = a_trainer(tmp_path, objective, OPTIONS._replace(detach="none"), **LEARNING)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    for task in ("eval_loss_predict", "eval_loss_explain"):
        assert after[task] < before[task] / 4
    weights = trainer.model.state_dict()
    trainer.model.load_state_dict(weights | learnt_with_dss.model.state_dict())
    assert after[f"eval_{term}"] < share * trainer.evaluate()[f"eval_{term}"]
    assert -1 < after["eval_mi_bound"] <= math.log(10)


def test_the_heads_are_in_checkpoints_alone_and_go_on_with_a_resumed_run(tmp_path: Path) -> None:
    arguments = {"save_steps": 2, "save_strategy": "steps", "logging_steps": 1}
    whole = a_trainer(tmp_path / "whole", "mi-infonce", max_steps=4, **arguments)
    untrained = getattr(whole.model, HEADS).predict[0].weight.detach().clone()
    whole.train()
    of_checkpoint = load_file(tmp_path / "whole" / "checkpoint-2" / "model.safetensors")
    assert any(name.startswith(HEADS) for name in of_checkpoint)
    assert not torch.equal(of_checkpoint[f"{HEADS}.predict.0.weight"], untrained)

    torch.manual_seed(5)
    resumed = a_trainer(tmp_path / "resumed", "mi-infonce", max_steps=4, **arguments)
    torch.nn.init.zeros_(getattr(resumed.model, HEADS).predict[0].weight)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name

    student = as_trained(whole.model.config, whole.model.state_dict())
    student.save_pretrained(tmp_path / "student")
    assert not any(
        name.startswith(HEADS) for name in load_file(tmp_path / "student" / "model.safetensors")
    )
    model, loading = T5ForConditionalGeneration.from_pretrained(
        tmp_path / "student", output_loading_info=True
    )
    assert not loading["unexpected_keys"]
    assert not loading["missing_keys"]
    assert torch.equal(model.shared.weight, whole.model.shared.weight)
    assert hasattr(whole.model, HEADS)  # and training could go on
