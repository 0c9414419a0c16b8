"""Hypothesis's strategies for what is nearly right: good values, and what becomes of them.

DUET_TEST_INPUTS says how many inputs each of the tests tries.
"""

import json
import os
from operator import mul
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.support.tiny_students import problems

INPUTS = int(os.environ.get("DUET_TEST_INPUTS", 300))

# `make test` tries the same inputs every time, so that it never fails for what nobody changed.
fuzzing = settings(
    max_examples=INPUTS,
    deadline=None,
    derandomize="DUET_TEST_INPUTS" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)

ODD_TEXTS = (
    *("", " ", "\n\t", "\0", "a\0b", "\x85", "\u2003", "\x1c", "\ufeff", "\u202e\u2066", "\x7f"),
    *("\ud800", "a\udfffb", "\U0010ffff", "𝕏", "ﷺ", "👩‍👩‍👧", "ß", "ı", "\u2028", "▁", "__class__"),
    *("</s>", "<pad>", "<extra_id_0>", "<0x00>", "{{ text }}", "{% raw %}", "{#", "%(x)s"),
)
ODD_NUMBERS = (0, -1, 1.5, 1e308, 5e-324, float("nan"), float("inf"), 2**31, 2**63, 10**400, True)


def repeated(parts: list[Any], counts: list[int]) -> st.SearchStrategy[Any]:
    return st.builds(mul, st.sampled_from(parts), st.sampled_from(counts))


texts = st.one_of(
    st.sampled_from(problems(12)),
    st.text(max_size=40),
    st.text(st.characters(), max_size=10),  # halves of surrogate pairs among them
    st.sampled_from(ODD_TEXTS),
    repeated(["a", "7 ", "\U0001f34e", "\u0301"], [50, 500, 3000]),
)
plain_texts = st.one_of(
    st.sampled_from(problems(12)), st.text(st.characters(codec="ascii"), min_size=1)
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(ODD_NUMBERS), texts
)
anything = st.recursive(
    scalars,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(texts, part, max_size=3),
    max_leaves=8,
)

CHUNKS = (
    *(b"", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe\0\0", b"\\ud800"),
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\n", b"null", b"true", b"NaN", b"-"),
    *(b"1e999", b"Infinity", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f"),
)
chunks = st.one_of(
    st.sampled_from(CHUNKS),
    st.binary(max_size=6),
    repeated([b"[", b'{"a":', b"9", b"a"], [400, 5000, 160_000]),
)


def rarely(draw: st.DrawFn) -> bool:
    return draw(st.integers(0, 4)) == 4


@st.composite
def damaged_json(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value in which a part is another one, left out, there twice, or renamed."""
    path = draw(st.sampled_from(_paths(value)))
    if not path:
        return draw(anything)
    *above, last = path
    copy = json.loads(json.dumps(value))
    part = copy
    for step in above:
        part = part[step]
    match draw(st.sampled_from(["replace", "remove", "rename"])):
        case "replace":
            part[last] = draw(anything)
        case "remove":
            del part[last]
        case "rename" if isinstance(part, dict):
            part[draw(texts)] = part.pop(last)
        case _:
            part.append(part[last])
    return copy


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Of all parts of a JSON value, itself included."""
    steps: Any = value if isinstance(value, dict) else ()
    if isinstance(value, list):
        steps = range(len(value))
    return [path, *(found for step in steps for found in _paths(value[step], (*path, step)))]


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes of which up to two slices are other ones."""
    for _ in range(draw(st.integers(1, 2))):
        begin = draw(st.integers(0, len(content)))
        end = begin + draw(st.integers(0, 4))
        content = content[:begin] + draw(chunks) + content[end:]
    return content
