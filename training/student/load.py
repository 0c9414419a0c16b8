"""The student: a pretrained T5, or one from scratch with its own tokenizer."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

from tasks.placeholders import SLOTS
from tasks.task import Task
from training.config import DistillConfig, Scratch
from training.data.row import Example
from training.student.unpadded import UnpaddedT5
from training.student.vocabulary import trim_vocabulary
from training.yaml_files import ConfigError

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"  # in T5's order: pad is 0, end is 1

log = logging.getLogger("duet.student")


class Student(NamedTuple):
    """A student before training."""

    model: UnpaddedT5
    tokenizer: PreTrainedTokenizerBase
    dropped_pieces: int = 0  # of the pretrained vocabulary, by `trim_vocab`


def load_student(config: DistillConfig, texts: list[str]) -> Student:
    """The recipe's student, the same at every call.

    `texts` train the tokenizer of one from scratch, and are what `trim_vocab` keeps pieces for.
    Raises ConfigError where a pretrained student cannot be loaded, or not be trimmed.
    """
    set_seed(config.seed)
    if not isinstance(config.model, str):
        slots = [] if config.task.numbers is None else SLOTS
        tokenizer = train_tokenizer(texts, config.model.scratch.vocab_size, slots)
        model = UnpaddedT5(_t5_config(config.model.scratch, tokenizer))
        return Student(model, tokenizer)
    student = load_pretrained(config.model, config.dropout_rate)
    return _trimmed(student, texts) if config.trim_vocab else student


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


def as_trained(config: T5Config, weights: dict[str, Tensor]) -> T5ForConditionalGeneration:
    """The weights in transformers' own class, without those that only training needs."""
    plain = T5ForConditionalGeneration(config)
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    return plain


def _trimmed(student: Student, texts: list[str]) -> Student:
    model, full = student.model, student.tokenizer
    backend = trim_vocabulary(model, full, texts)
    tokenizer = _with_special_tokens(backend, full.pad_token, full.eos_token, full.unk_token)
    log.info("trim_vocab: %d of %d pieces are kept", len(tokenizer), len(full))
    return Student(model, tokenizer, len(full) - len(tokenizer))


def load_pretrained(name: str, dropout_rate: float | None = None) -> Student:
    """A T5 of the hub, or of a folder, in fp32. Raises ConfigError."""
    options = {} if dropout_rate is None else {"dropout_rate": dropout_rate}
    try:
        kind = AutoConfig.from_pretrained(name).model_type
        if kind != "t5":
            raise ConfigError(f"model: {name} is a {kind!r}, but a student is a 't5'")
        model, loading = UnpaddedT5.from_pretrained(name, output_loading_info=True, **options)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except ConfigError:
        raise
    except Exception as error:  # transformers, safetensors and tokenizers raise many kinds
        reason = " ".join(str(error).split())
        raise ConfigError(f"model: {name} cannot be loaded as a T5 ({reason})") from error
    if loading["missing_keys"]:
        raise ConfigError(f"model: the weights of {name} lack {sorted(loading['missing_keys'])[0]}")
    for key in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
        if not isinstance(getattr(model.config, key), int):
            raise ConfigError(f"model: the configuration of {name} has no {key}")
    if len(tokenizer) > model.config.vocab_size:
        raise ConfigError(
            f"model: the tokenizer of {name} has {len(tokenizer)} tokens, but the model knows "
            f"{model.config.vocab_size}"
        )
    return Student(model.float(), tokenizer)


def train_tokenizer(
    texts: list[str], vocab_size: int, words: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer (no text is unknown to it) that ends each text with `</s>`.

    Each of `words`, and each with a space before it, is one token whatever the texts are.
    """
    added = [f"{space}{word}" for space in ("", " ") for word in words]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(added),
        special_tokens=[PAD, END, UNKNOWN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in added])
    end = (END, tokenizer.token_to_id(END))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[end]
    )
    return _with_special_tokens(tokenizer, PAD, END, UNKNOWN)


def _with_special_tokens(
    tokenizer: Tokenizer, pad: str, end: str, unknown: str | None
) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        eos_token=end,
        unk_token=unknown,
        model_input_names=["input_ids", "attention_mask"],  # T5 knows no token types
    )


def _t5_config(scratch: Scratch, tokenizer: PreTrainedTokenizerFast) -> T5Config:
    geometry = scratch.model_dump() | {"vocab_size": len(tokenizer)}
    return T5Config(
        **geometry,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
