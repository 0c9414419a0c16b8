"""Hostile manifests and templates: a bundle is refused, or an input is, or all goes well.

Templates that only take long or much memory are not made: Jinja2 does not bound these.
"""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Final

import jinja2.filters
import jinja2.tests
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.bundle import MANIFEST, TOKENIZER, BundleError
from export.verify import Bundle, manifest_checksum, read_manifest
from service.engine.text import TextProcessor
from service.errors import InputError
from service.oip.task_tensors import outputs_of
from service.schemas import ModelInfo, check_inputs
from tests.unit.service.fuzz.strategies import (
    INPUTS,
    damaged_bytes,
    damaged_json,
    fuzzing,
    plain_texts,
    rarely,
    texts,
)

FIELDS: Final = ("text", "question", "choices")
NAMES: Final = (*FIELDS, "loop", "self", "caller", "range", "dict", "namespace", "nothing", "none")
ATTRIBUTES: Final = ("__class__", "__mro__", "format", "format_map", "encode", "x", "index", "0")
FILTERS: Final = sorted(jinja2.filters.FILTERS)
TESTS: Final = sorted(jinja2.tests.TESTS)
SMALL: Final = st.sampled_from(["0", "1", "2", "3", "-1"])  # what multiplies or repeats
LITERALS: Final = st.sampled_from(
    [
        *("''", "'a'", r"'\ud800'", r"'\0'", r"'\x'", r"'\N{DIGIT ONE}'", "'%s %d %c'", "'{0.x}'"),
        *("1e999", "9" * 400, "9" * 5000, "1_000", "0x1f", "1.5", "true", "[]", "{}", "(1, 2)"),
    ]
)


def combined(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def form(template: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(*parts).map(lambda parts: template.format(*parts))

    names, attributes = st.sampled_from(NAMES), st.sampled_from(ATTRIBUTES)
    filters, operators = (
        st.sampled_from(FILTERS),
        st.sampled_from(["+", "-", "/", "//", "%", "~", "in", "==", "<", "and"]),
    )
    return st.one_of(
        form("({0} {1} {2})", part, operators, part),
        form("({0} * {1})", part, SMALL),
        form("({0} if {1} else {2})", part, part, part),
        form("{0}.{1}", part, attributes),
        form("{0}[{1}]", part, part),
        form("{0}({1})", names, SMALL),
        form("{0}.{1}({2})", part, attributes, part),
        form("({0}|{1})", part, filters),
        form("({0}|{1}({2}))", part, filters, SMALL),
        form("({0}|format({1}))", part, part),
        form("({0} is {1})", part, st.sampled_from(TESTS)),
        form("[{0}, {1}]", part, part),
        form("{{{0}: {1}}}", part, part),
        form("-{0}", part),
    )


expressions = st.recursive(st.sampled_from(NAMES) | SMALL | LITERALS, combined, max_leaves=6)


def blocks(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(part, part).map("".join),
        st.tuples(expressions, part).map(
            lambda it: f"{{% for a in {it[0]} %}}{it[1]}{{% endfor %}}"
        ),
        st.tuples(expressions, part).map(lambda it: f"{{% if {it[0]} %}}{it[1]}{{% endif %}}"),
        expressions.map(lambda it: f"{{% set a = {it} %}}{{{{ a }}}}"),
        st.tuples(st.sampled_from(FILTERS), part).map(
            lambda it: f"{{% filter {it[0]} %}}{it[1]}{{% endfilter %}}"
        ),
        part.map(lambda it: f"{{% macro m(a) %}}{it}{{% endmacro %}}{{{{ m(1) }}}}"),
    )


ODD_TEMPLATES: Final = (
    *("{% include 'a' %}", "{% extends text %}", "{% import 'a' as a %}", "{% block a %}"),
    *(
        "{% block a %}{{ self.a() }}{% endblock %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ),
    *("{{ '%c'|format(55296) }}", "{{ cycler() }}", "{{ 1e999|int }}"),
)
nested = st.builds(
    lambda parts, count: parts[0] * count + parts[1] * count,
    st.sampled_from(
        [
            *(("{{ (", ") }}"), ("{{ -", "1 }}"), ("{{ 1+", "1 }}"), ("{{ not ", "1 }}")),
            *(("{% for a in 'a' %}", "{% endfor %}"), ("{% if 0 %}", "{% elif 0 %}")),
        ]
    ),
    st.sampled_from([3, 30, 3000]),
)
templates = st.one_of(
    st.recursive(expressions.map("{{{{ {} }}}}".format) | plain_texts, blocks, max_leaves=4),
    st.sampled_from(["{{text}}", "{{question}}", "{{text}}</s>{{question}}", *ODD_TEMPLATES]),
    nested,
    st.text("{}%#-'\"()[]|.~ textloop01\\\n", max_size=30),
    texts,
)


@pytest.fixture(scope="module")
def folder(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a bundle whose manifest may be written anew. Its graphs are not there, nor needed."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copy(tiny_bundle / MANIFEST, folder)
    shutil.copy(tiny_bundle / TOKENIZER, folder)
    return folder


@st.composite
def manifests(draw: st.DrawFn, good: dict[str, Any]) -> bytes:
    fields = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True))
    labels: list[Any] = ["open", ["yes", "no"]]
    if "choices" in fields:
        labels = [{"field": "choices"}]
    task = good["task"] | {
        "fields": fields,
        "template": draw(templates),
        "labels": draw(st.sampled_from(labels)),
        "answer": draw(st.sampled_from([None, "arithmetic"])),
        "examples": [],
    }
    if rarely(draw):
        task |= {"predict_prefix": draw(texts), "explain_prefix": draw(texts)}
    content = good | {"task": task}
    if rarely(draw):
        content |= {"provenance": good["provenance"] | {"recipe": {"seed": draw(texts)}}}
    if rarely(draw):
        content = draw(damaged_json(content))
    if isinstance(content, dict):
        content["checksum"] = manifest_checksum(content)
    text = json.dumps(content).encode()
    return draw(damaged_bytes(text)) if rarely(draw) else text


def test_no_bundle_does_harm(folder: Path) -> None:
    seen: Counter[str] = Counter()
    good = json.loads((folder / MANIFEST).read_bytes())

    @fuzzing
    @given(manifests(good), plain_texts | texts)
    def use(content: bytes, text: str) -> None:
        (folder / MANIFEST).write_bytes(content)
        try:
            bundle = Bundle(folder, read_manifest(folder), [])
            processor = TextProcessor(bundle)
        except BundleError as error:
            str(error).encode()
            what = "template" if "the template fails" in str(error) else "manifest"
            seen[f"{what} refused"] += 1
            return
        json.loads(ModelInfo.of(bundle, default=True).model_dump_json())
        outputs_of(bundle.manifest.task, explain=True)
        inputs = {
            name: [text, "b"] if isinstance(value, list) else text
            for name, value in bundle.manifest.task.form().items()
        }
        try:
            check_inputs(inputs)
            prompts = processor.prompts(processor.codec(inputs), explain=True)
            processor.labels(inputs)
        except InputError as error:
            seen[f"input refused, {type(error).__name__}"] += 1
        else:
            assert all(prompt.ids for prompt in prompts)
            seen["rendered"] += 1

    use()
    print(seen.most_common())
    assert seen["rendered"] > INPUTS / 10
    assert seen["template refused"] > INPUTS / 20
