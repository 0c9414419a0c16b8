"""Texts: turns the fields of an input into tokens, and tokens into text."""

import json
import re
import reprlib
from collections.abc import Sequence
from typing import NamedTuple

from tokenizers import Tokenizer

from export.bundle import TOKENIZER, BundleError
from export.verify import Bundle
from service.engine.label_trie import LabelTrie
from service.engine.prediction import Input
from service.errors import EmptyInput, InvalidInput, TooManyTokens
from tasks.fields import EmptyField, FieldError, parse_fields
from tasks.placeholders import Codec, codec_of
from tasks.task import MAX_LABELS, Fields

CHARACTERS_PER_TOKEN = 16  # more than a token of ordinary text has
BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # SentencePiece's tokens for bytes of unknown characters


class Prompt(NamedTuple):
    """The token ids of a prompt. A truncated prompt was too long and was cut at its end."""

    ids: list[int]
    truncated: bool


class TextProcessor:
    """Renders, tokenises and decodes the texts of one bundle's task.

    Raises BundleError if the bundle's tokenizer cannot be used.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.name = bundle.manifest.name
        self.task = bundle.manifest.task
        self.max_tokens = bundle.manifest.limits.input_tokens
        self.max_label_tokens = bundle.manifest.limits.label_tokens
        path = bundle.path(TOKENIZER)
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises no narrower one
            raise BundleError(f"{path}: not a tokenizer ({error})") from error
        tokens = self._tokenizer.get_vocab_size()
        if tokens > bundle.manifest.model.vocab_size:
            raise BundleError(
                f"{path}: {tokens} tokens, but the model knows {bundle.manifest.model.vocab_size}"
            )
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        added = self._tokenizer.get_added_tokens_decoder()
        self._unsettled = {  # tokens whose text the next tokens can change
            id_
            for token, id_ in self._tokenizer.get_vocab().items()
            if BYTE.fullmatch(token) or (id_ in added and added[id_].special)
        }
        self._closed: LabelTrie | None = None
        if isinstance(self.task.labels, list):
            try:
                self._closed = self._trie(self.task.labels, "labels")
            except TooManyTokens as error:
                raise BundleError(f"{bundle.folder}: {error}") from error

    def codec(self, given: Input) -> Codec:
        """The codec of an input: makes the student's text of it, and restores its numbers.

        Raises InvalidInput, EmptyInput.
        """
        return codec_of(self.task.numbers, self._render(self._fields(given)))

    def prompts(self, codec: Codec, *, explain: bool, truncate: bool = False) -> list[Prompt]:
        """The prompt for the label and, with `explain`, the prompt for the rationale.

        With `truncate`, a prompt that is too long is cut at its end. Raises TooManyTokens. Safe in
        any thread; lets other threads run.
        """
        prefixes = [self.task.predict_prefix, self.task.explain_prefix][: 1 + explain]
        return [self._encode(prefix + codec.text, truncate) for prefix in prefixes]

    def labels(self, given: Input) -> LabelTrie | None:
        """The labels to choose from for this input; None if the label is an open text.

        Raises InvalidInput, EmptyInput, TooManyTokens.
        """
        field = self.task.choices
        if field is None:
            return self._closed
        # a repeated choice is one label
        choices = tuple(dict.fromkeys(self._fields(given)[field]))
        if len(choices) > MAX_LABELS:
            raise InvalidInput(f"{field}: {len(choices)} labels, but at most {MAX_LABELS} may be")
        return self._trie(choices, field)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens as the student writes it, before the codec restores its numbers."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.strip()

    def decode_settled(self, ids: Sequence[int]) -> str:
        """The beginning of a text that later tokens cannot change.

        It stops before white space, and before characters that lack some of their bytes.
        """
        end = len(ids)
        while end and ids[end - 1] in self._unsettled:
            end -= 1  # one more wrong byte would turn all of them into replacement characters
        return self.decode(ids[:end]).rstrip("\N{REPLACEMENT CHARACTER}").rstrip()

    def _render(self, fields: dict[str, str | list[str]]) -> str:
        try:
            text = self.task.render(fields)
            text.encode()  # raises at half of a surrogate pair
            return text
        except Exception as error:  # a template is data: it may raise anything
            raise InvalidInput(f"the template of {self.task.name} refuses it: {error}") from error

    def _encode(self, text: str, truncate: bool) -> Prompt:
        # If the beginning is already too long, the rest of a very long text need not be encoded.
        beginning = text[: CHARACTERS_PER_TOKEN * self.max_tokens]
        for part in [text] if beginning == text else [beginning, text]:
            # a batch of one, because only encoding a batch lets other threads run
            ids: list[int] = self._tokenizer.encode_batch_fast([part])[0].ids
            if len(ids) > self.max_tokens:
                if truncate:
                    return self._truncated(part)
                over = "" if part == text else "more than "
                raise TooManyTokens(
                    f"{over}{len(ids)} tokens, but {self.name} takes at most {self.max_tokens}; "
                    "shorten the input"
                )
        return Prompt(ids, truncated=False)

    def _truncated(self, text: str) -> Prompt:
        (encoding,) = self._tokenizer.encode_batch([text], add_special_tokens=False)
        encoding.truncate(self.max_tokens - self._tokenizer.num_special_tokens_to_add(False))
        return Prompt(self._tokenizer.post_process(encoding).ids, truncated=True)

    def _trie(self, labels: Sequence[str], place: str) -> LabelTrie:
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(labels))]
        for label, tokens in zip(labels, ids, strict=True):
            if len(tokens) > self.max_label_tokens:
                raise TooManyTokens(
                    f"{place}: {reprlib.repr(label)} has {len(tokens)} tokens, but a label of "
                    f"{self.name} has at most {self.max_label_tokens}"
                )
        return LabelTrie(labels, ids)

    def _fields(self, given: Input) -> Fields:
        try:
            return parse_fields(self.task, given)
        except EmptyField as error:
            raise EmptyInput(str(error)) from error
        except FieldError as error:
            form = json.dumps(self.task.form(), ensure_ascii=False)
            if error.field is None:
                raise InvalidInput(f"expected {form}, got {error.found}") from error
            raise InvalidInput(f"{error}; expected {form}") from error
