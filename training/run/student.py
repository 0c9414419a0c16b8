"""The student that a recipe begins with, and the texts that its vocabulary must know."""

import logging

from transformers import set_seed

from tasks.placeholders import PLACEHOLDERS
from tasks.task import Task
from training.config import DistillConfig
from training.student.files import Example, StudentError
from training.student.load import (
    Student,
    load_pretrained,
    student_from_scratch,
    with_special_tokens,
)
from training.student.vocabulary import trim_vocabulary
from training.yaml_files import ConfigError

log = logging.getLogger("duet.student")


def load_base(config: DistillConfig) -> Student | None:
    """The pretrained student of the recipe, untrimmed; None for one from scratch.

    Raises ConfigError where it cannot be loaded.
    """
    if not isinstance(config.model, str):
        return None
    try:
        return load_pretrained(config.model, config.dropout_rate)
    except StudentError as error:
        raise ConfigError(f"model: {error}") from error


def load_student(config: DistillConfig, texts: list[str], base: Student | None = None) -> Student:
    """The recipe's student, the same at every call.

    `texts` train the tokenizer of one from scratch, and are what `trim_vocab` keeps pieces for.
    `base` is what `load_base` returned, if it was called before. Raises ConfigError where a
    pretrained student cannot be loaded, or not be trimmed.
    """
    base = base or load_base(config)
    set_seed(config.seed)
    if not isinstance(config.model, str):
        words = [] if config.task.numbers is None else PLACEHOLDERS
        return student_from_scratch(config.model.scratch.model_dump(), texts, words)
    assert base is not None
    return _trimmed(base, texts) if config.trim_vocab else base


def student_texts(task: Task, examples: list[Example]) -> list[str]:
    """All that a student reads and writes, and the labels that it may be asked to choose from."""
    texts: list[str] = []
    for example in examples:
        text = task.render(example.input)
        codec = task.codec(text)
        choices = None if task.choices is None else task.labels_of(example.input)
        texts += [task.predict_prefix + codec.text, task.explain_prefix + codec.text]
        texts += choices or [codec.mask_label(example.label)]
        texts.append(codec.mask_rationale(example.rationale or ""))
    return texts + (task.labels if isinstance(task.labels, list) else [])


def _trimmed(student: Student, texts: list[str]) -> Student:
    model, full = student.model, student.tokenizer
    try:
        backend = trim_vocabulary(model, full, texts)
    except StudentError as error:
        raise ConfigError(f"trim_vocab: {error}; set it to false") from error
    tokenizer = with_special_tokens(backend, full.pad_token, full.eos_token, full.unk_token)
    log.info("trim_vocab: %d of %d pieces are kept", len(tokenizer), len(full))
    return Student(model, tokenizer, len(full) - len(tokenizer))
