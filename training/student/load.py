"""A student's model and tokenizer: pretrained, or from random weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
)

from training.student.files import StudentError
from training.student.hub import not_cached, why_not_on_hub
from training.student.unpadded import UnpaddedT5

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"  # in T5's order: pad is 0, end is 1


class Student(NamedTuple):
    """A model and its tokenizer."""

    model: UnpaddedT5
    tokenizer: PreTrainedTokenizerFast
    dropped_pieces: int = 0  # of the pretrained vocabulary, by `trim_vocab`


def student_from_scratch(
    geometry: Mapping[str, Any], texts: list[str], words: Sequence[str] = ()
) -> Student:
    """A student of random weights, with a tokenizer that `texts` train; see `train_tokenizer`.

    `geometry` holds keys of T5Config. Its `vocab_size` is the most that the tokenizer may have.
    """
    tokenizer = train_tokenizer(texts, geometry["vocab_size"], words)
    config = T5Config(
        **{**geometry, "vocab_size": len(tokenizer)},
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    return Student(UnpaddedT5(config), tokenizer)


def load_pretrained(name: str | Path, dropout_rate: float | None = None) -> Student:
    """A T5 of a folder, or of the hub, in fp32. Raises StudentError."""
    name = str(name)
    folder, why = Path(name), None
    if not folder.is_dir():
        why = why_not_on_hub(name)
    elif not (folder / "config.json").is_file():
        raise StudentError(
            f"{name}: no config.json in this folder; expected a T5 as `save_pretrained` writes it"
        )
    local = folder.is_dir() or why is not None
    options = {} if dropout_rate is None else {"dropout_rate": dropout_rate}
    try:
        kind = AutoConfig.from_pretrained(name, local_files_only=local).model_type
    except Exception as error:  # transformers raises many kinds
        if why is not None:
            raise StudentError(not_cached(name, why, "T5")) from error
        raise _cannot_be_loaded(name, error) from error
    if kind != "t5":
        raise StudentError(f"{name} is a {kind!r}, but a student is a 't5'")
    try:
        model, loading = UnpaddedT5.from_pretrained(
            name,
            local_files_only=local,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, in one line
            **options,
        )
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=local)
    except Exception as error:  # safetensors and tokenizers raise more
        raise _cannot_be_loaded(name, error) from error
    _check_weights(name, loading)
    for key in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
        if not isinstance(getattr(model.config, key), int):
            raise StudentError(f"{name}: the configuration has no {key}")
    return Student(model.float(), _checked(name, tokenizer, model.config))


def _check_weights(name: str, loading: dict[str, Any]) -> None:
    """Raises StudentError where the weights are not those of the configuration."""
    if missing := sorted(loading["missing_keys"]):
        raise StudentError(f"{name}: the weights lack {missing[0]} and {len(missing) - 1} more")
    # transformers 5 gives their shapes, too
    other = [key if isinstance(key, str) else key[0] for key in loading["mismatched_keys"]]
    if other:
        raise StudentError(
            f"{name}: the weights of {min(other)} have another shape than the configuration says"
        )
    # a head of another task is no part of a student, but layers are
    layers = [key for key in loading["unexpected_keys"] if key.startswith(("encoder", "decoder"))]
    if layers:
        raise StudentError(
            f"{name}: the weights have {min(layers)}, which the configuration does not know"
        )


def _checked(
    name: str, tokenizer: PreTrainedTokenizerBase, config: T5Config
) -> PreTrainedTokenizerFast:
    """The tokenizer. Raises StudentError where it is not that of the model, or ends no text."""
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise StudentError(f"{name}: its tokenizer has no fast form, which export needs")
    if len(tokenizer) > config.vocab_size:
        raise StudentError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens, but the model knows "
            f"{config.vocab_size}"
        )
    for token in ("pad", "eos"):
        ours, models = (getattr(side, f"{token}_token_id") for side in (tokenizer, config))
        if ours != models:
            raise StudentError(
                f"{name}: {token}_token_id is {ours} in the tokenizer, but {models} in the "
                "configuration"
            )
    if tokenizer("")["input_ids"] != [tokenizer.eos_token_id]:
        raise StudentError(f"{name}: its tokenizer does not end a text with the end token")
    return tokenizer


def _cannot_be_loaded(name: str, error: Exception) -> StudentError:
    return StudentError(f"{name} cannot be loaded as a T5 ({' '.join(str(error).split())})")


def as_trained(config: T5Config, weights: dict[str, Tensor]) -> T5ForConditionalGeneration:
    """The weights in transformers' own class, without those that only training needs."""
    plain = T5ForConditionalGeneration(config)
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    return plain


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
    return with_special_tokens(tokenizer, PAD, END, UNKNOWN)


def with_special_tokens(
    tokenizer: Tokenizer, pad: str, end: str, unknown: str | None
) -> PreTrainedTokenizerFast:
    """The tokenizer in transformers' class, which knows its special tokens."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        eos_token=end,
        unk_token=unknown,
        model_input_names=["input_ids", "attention_mask"],  # T5 knows no token types
    )
