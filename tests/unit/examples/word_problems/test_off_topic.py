import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from examples.word_problems.__main__ import main
from examples.word_problems.off_topic import RATIONALE, _texts, off_topic
from examples.word_problems.operations import OPERATIONS, operation
from examples.word_problems.templates import parsed
from tasks.equations import evaluate_equation
from tasks.placeholders import MaskedNumbers


@pytest.fixture(scope="module")
def made() -> list[tuple[str, str]]:
    rng = random.Random(0)
    return [off_topic(rng) for _ in range(4000)]


def test_texts_have_no_marks_of_templates_and_seldom_repeat(made: list[tuple[str, str]]) -> None:
    for text, _ in made:
        assert text.strip(), made
        assert not re.search(r"\{(?:number|n|A|n\.one|days|places)\}", text), text
    assert len({text for text, _ in made}) > 0.9 * len(made)


def test_labels_are_equations_over_the_numbers_of_the_text(made: list[tuple[str, str]]) -> None:
    with_numbers = 0
    for text, label in made:
        assert set(re.findall(r"[-+*/]", label)), label
        masked = MaskedNumbers(text).mask_label(label)
        with_numbers += not re.search(r"(?<!n)[0-9]", masked)
    assert with_numbers > 0.35 * len(made)
    assert any(evaluate_equation(label) is not None for _, label in made)


def test_no_operation_is_likelier_than_another(made: list[tuple[str, str]]) -> None:
    shares = Counter(operation(label) for _, label in made)
    assert set(shares) == set(OPERATIONS)
    assert max(shares.values()) < 0.23 * len(made)


def test_every_template_can_be_read() -> None:
    for kind, lines in _texts().items():
        for line in lines:
            if kind != "languages":
                parsed(line)
    assert len(_texts()["languages"]) == 21


def test_the_command_mixes_them_in(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    assert main(["--rows", "400", "--off-topic", "0.25", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    others = [row for row in rows if row["scene"] == "off topic"]
    assert 70 < len(others) < 130
    assert all((row["rationale"] == RATIONALE) == (row in others) for row in rows)


def test_a_share_is_a_share(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--rows", "1", "--off-topic", "5", "--out", str(tmp_path / "rows.jsonl")])
    assert "--off-topic: 5.0, but a share is from 0 to 1" in capsys.readouterr().err
