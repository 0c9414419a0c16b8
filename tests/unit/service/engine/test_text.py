import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models

from export import verify
from export.bundle import TOKENIZER, BundleError
from export.verify import Bundle, read_manifest, seal
from service.engine.prediction import Input
from service.engine.text import Prompt, TextProcessor
from service.errors import EmptyInput, InvalidInput, TooManyTokens
from tasks.task import LabelField, Task
from tests.support.tiny_students import Student

PAIR = Task(name="nli", fields=["premise", "hypothesis"], template="{{premise}}</s>{{hypothesis}}")


CHOICE = Task(
    name="cqa",
    fields=["question", "choices"],
    template="{{question}}{% for choice in choices %}\n({{loop.index}}) {{choice}}{% endfor %}",
    labels=LabelField(field="choices"),
)


@pytest.fixture(scope="module")
def source(tiny_bundle: Path) -> Bundle:
    return verify.read(tiny_bundle)


@pytest.fixture(scope="module")
def text(source: Bundle) -> TextProcessor:
    return TextProcessor(source)


@pytest.fixture(scope="module")
def pair(source: Bundle) -> TextProcessor:
    manifest = source.manifest.model_copy(update={"task": PAIR})
    return TextProcessor(Bundle(source.folder, manifest, []))


@pytest.fixture(scope="module")
def choice(source: Bundle) -> TextProcessor:
    manifest = source.manifest.model_copy(update={"task": CHOICE})
    return TextProcessor(Bundle(source.folder, manifest, []))


def test_prompts_are_tokenised_as_transformers_does(text: TextProcessor, student: Student) -> None:
    given = "Ann has 3 apples, {{ braces }} and {% tags %}. Ünï 🍎"
    expected = [
        student.tokenizer(prefix + given)["input_ids"] for prefix in ("predict: ", "explain: ")
    ]
    codec = text.codec(given)
    assert [prompt.ids for prompt in text.prompts(codec, explain=True)] == expected
    codec = text.codec({"text": given})
    assert text.prompts(codec, explain=False) == [Prompt(expected[0], False)]


def test_white_space_changes_no_prompt(text: TextProcessor, choice: TextProcessor) -> None:
    def prompts(processor: TextProcessor, given: Input) -> list[Prompt]:
        return processor.prompts(processor.codec(given), explain=True)

    for space in ("\n", "\r\n", "  ", "\t", "\N{NO-BREAK SPACE}"):
        assert prompts(text, f"Ann has 3.{space}How many?") == prompts(text, "Ann has 3. How many?")
        given = {"question": f"What{space}writes?", "choices": [f"a{space}pen", "ink"]}
        plain = {"question": "What writes?", "choices": ["a pen", "ink"]}
        assert prompts(choice, given) == prompts(choice, plain)
        labels = choice.labels(given)
        assert labels is not None
        assert labels.labels == (f"a{space}pen", "ink")


def test_fields_go_into_the_template(pair: TextProcessor, student: Student) -> None:
    codec = pair.codec({"hypothesis": "It rains.", "premise": "It pours."})
    (prompt,) = pair.prompts(codec, explain=False)
    assert prompt.ids == student.tokenizer("predict: It pours.</s>It rains.")["input_ids"]


def test_choices_go_into_the_template_and_are_the_labels(
    choice: TextProcessor, student: Student
) -> None:
    given = {"question": "What?", "choices": ["pens", "apples", "pens"]}
    (prompt,) = choice.prompts(choice.codec(given), explain=False)
    text = "predict: What?\n(1) pens\n(2) apples\n(3) pens"
    assert prompt.ids == student.tokenizer(text)["input_ids"]
    trie = choice.labels(given)
    assert trie is not None
    assert trie.labels == ("pens", "apples")
    for i, label in enumerate(trie.labels):
        assert trie.label_tokens(i) == student.tokenizer(label)["input_ids"]


def test_a_task_has_its_labels_or_none(source: Bundle, text: TextProcessor) -> None:
    assert text.labels("Ann") is None
    task = source.manifest.task.model_copy(update={"labels": ["yes", "no"]})
    manifest = source.manifest.model_copy(update={"task": task})
    trie = TextProcessor(Bundle(source.folder, manifest, [])).labels("Ann")
    assert trie is not None
    assert trie.labels == ("yes", "no")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"question": "a", "choices": "b"}, InvalidInput, r'choices is a string; .*\["…"\]'),
        ({"question": ["a"], "choices": ["b"]}, InvalidInput, "question is a list; expected"),
        ({"question": "a", "choices": []}, EmptyInput, "^choices is empty$"),
        ({"question": "a", "choices": ["b", " "]}, EmptyInput, "^a label in choices is empty$"),
        ({"question": "a"}, InvalidInput, "choices is missing"),
        (
            {"question": "a", "choices": ["b", "7 " * 40]},
            TooManyTokens,
            "choices: .* but a label of tiny has at most 12",
        ),
        (
            {"question": "a", "choices": [str(i) for i in range(1001)]},
            InvalidInput,
            "choices: 1001 labels, but at most 1000",
        ),
    ],
)
def test_wrong_choices_are_named(
    choice: TextProcessor, given: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        choice.labels(given)


def test_labels_too_long_for_the_bundle_are_refused(source: Bundle) -> None:
    task = source.manifest.task.model_copy(update={"labels": ["yes", "7 " * 40]})
    manifest = source.manifest.model_copy(update={"task": task})
    with pytest.raises(BundleError, match=r"labels: '7 7 .* tokens, but a label of tiny has at"):
        TextProcessor(Bundle(source.folder, manifest, []))


def test_decode_reads_without_special_tokens(text: TextProcessor, student: Student) -> None:
    ids = student.tokenizer(" Ann has 3 apples ")["input_ids"]
    assert text.decode([0, *ids, 0]) == "Ann has 3 apples"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("It rains.", "expected .*premise.*hypothesis.*, got a string"),
        ({"premise": "It rains."}, "hypothesis is missing; expected .*premise"),
        ({"premise": "a", "hypothesis": "b", "x" * 999: "c"}, "'x+...x+' is unknown; expected"),
    ],
)
def test_wrong_fields_are_named(pair: TextProcessor, given: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        pair.codec(given)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("blank", ["", " ", "\n\t "])
def test_each_field_must_hold_text(pair: TextProcessor, blank: str) -> None:
    with pytest.raises(EmptyInput, match="hypothesis is empty"):
        pair.codec({"premise": "It rains.", "hypothesis": blank})


def test_tokens_are_counted(text: TextProcessor, student: Student) -> None:
    fits = next(
        digits
        for digits in ("7" * n for n in range(64))
        if len(student.tokenizer("predict: " + digits)["input_ids"]) == 64
    )
    for truncate in (False, True):
        (prompt,) = text.prompts(text.codec(fits), explain=False, truncate=truncate)
        assert (len(prompt.ids), prompt.truncated) == (64, False)
    with pytest.raises(TooManyTokens, match=r"^65 tokens, but tiny takes at most 64"):
        text.prompts(text.codec(fits + "7"), explain=False)


def test_a_huge_text_is_refused_by_its_beginning(text: TextProcessor) -> None:
    with pytest.raises(TooManyTokens, match=r"^more than 1024 tokens"):
        text.prompts(text.codec("7" * 10**6), explain=False)


def test_a_template_that_fails_on_an_input_is_told_of(source: Bundle) -> None:
    task = Task(name="counting", fields=["text"], template="{{ range(text|int) | list }}")
    manifest = source.manifest.model_copy(update={"task": task})
    counting = TextProcessor(Bundle(source.folder, manifest, []))
    with pytest.raises(InvalidInput, match="the template of counting refuses it: Range too big"):
        counting.codec("1000000000")


@pytest.mark.parametrize(
    "template",
    [
        "{{ text",
        "{{ text|nothing }}",
        "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
        "{% for a in 'a' %}" * 30 + "{% endfor %}" * 30,
        "{{ " + "9" * 5000 + " }}",
    ],
)
def test_a_template_that_cannot_be_read_is_refused(
    source: Bundle, template: str, tmp_path: Path
) -> None:
    task = source.manifest.task.model_copy(update={"template": template})
    seal(tmp_path, source.manifest.model_copy(update={"task": task}))
    with pytest.raises(BundleError, match=r"manifest.json: task: .*the template fails on text: "):
        read_manifest(tmp_path)


@pytest.mark.parametrize("template", [r"{{ '\ud800' }}", "{{ '%c'|format(text|int) }}"])
def test_a_template_that_writes_no_characters_is_told_of(source: Bundle, template: str) -> None:
    task = Task(name="halves", fields=["text"], template=template)
    manifest = source.manifest.model_copy(update={"task": task})
    with pytest.raises(InvalidInput, match=r"the template of halves refuses it: .*surrogates"):
        TextProcessor(Bundle(source.folder, manifest, [])).codec("55296")


def test_templates_are_sandboxed(source: Bundle) -> None:
    template = "{{ text.__class__.__mro__ if text == 'a' }}"
    task = Task(name="escape", fields=["text"], template=template)
    manifest = source.manifest.model_copy(update={"task": task})
    escaping = TextProcessor(Bundle(source.folder, manifest, []))
    with pytest.raises(InvalidInput, match="unsafe"):
        escaping.codec("a")


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(source: Bundle) -> None:
    model = source.manifest.model.model_copy(update={"vocab_size": 100})
    manifest = source.manifest.model_copy(update={"model": model})
    with pytest.raises(BundleError, match="tokens, but the model knows 100"):
        TextProcessor(Bundle(source.folder, manifest, []))


def test_what_is_no_tokenizer_is_refused(source: Bundle, tmp_path: Path) -> None:
    (tmp_path / TOKENIZER).write_text("{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json: not a tokenizer"):
        TextProcessor(Bundle(tmp_path, source.manifest, []))


@pytest.fixture(scope="module")
def byte_fallback(source: Bundle, tmp_path_factory: pytest.TempPathFactory) -> TextProcessor:
    """As SentencePiece has it: words begin with a sign, and bytes stand for what has no token."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", "▁the", "▁sun", "ny", ".", "é", "\u2003", "▁▁"]
    tokens = pieces + [f"<0x{byte:02X}>" for byte in range(256)]
    model = models.Unigram([(token, -1.0) for token in tokens], unk_id=2, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens(["<pad>", "</s>"])
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()]
    )
    folder = tmp_path_factory.mktemp("byte-fallback")
    tokenizer.save(str(folder / TOKENIZER))
    return TextProcessor(Bundle(folder, source.manifest, []))


@pytest.mark.parametrize("kind", ["text", "byte_fallback"])
def test_what_is_settled_stays(kind: str, request: pytest.FixtureRequest) -> None:
    """Over any tokens, bytes that make no character and white space at either end included."""
    processor = request.getfixturevalue(kind)
    size = processor._tokenizer.get_vocab_size()
    draw = random.Random(0)
    for _ in range(2000):
        ids = [draw.randrange(size) for _ in range(draw.randrange(1, 12))]
        if kind == "byte_fallback":  # bytes are most of its tokens
            ids = [draw.randrange(11) if draw.random() < 0.7 else id_ for id_ in ids]
        whole, before = processor.decode(ids), ""
        for end in range(len(ids) + 1):
            settled = processor.decode_settled(ids[:end])
            assert whole.startswith(settled)
            assert settled.startswith(before)
            before = settled


def test_settled_text_is_given_out_soon(text: TextProcessor, student: Student) -> None:
    given = "Ann has 3 apples 🍎 é."
    ids = student.tokenizer(given)["input_ids"]
    settled = [text.decode_settled(ids[:end]) for end in range(len(ids) + 1)]
    assert settled[-1] == given
    assert len(set(settled)) == 8  # nothing, and up to each word and sign
    assert not any("\ufffd" in part for part in settled)


def test_truncation_cuts_the_end_of_the_input(text: TextProcessor, student: Student) -> None:
    limit = text.max_tokens
    for given in ("Ann has 3 apples. " * 30, "Ann has 3 apples. " * 10_000):
        (prompt,) = text.prompts(text.codec(given), explain=False, truncate=True)
        tokenizer = student.tokenizer
        whole = tokenizer("predict: " + given.strip())["input_ids"]
        assert prompt == ([*whole[: limit - 1], tokenizer.eos_token_id], True)
        with pytest.raises(TooManyTokens):
            text.prompts(text.codec(given), explain=False)
    short = "Ann has 3 apples."
    codec = text.codec(short)
    assert text.prompts(codec, explain=True, truncate=True) == text.prompts(codec, explain=True)
