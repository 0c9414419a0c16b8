"""A student starts from a pretrained T5 where it can be had."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.support.fake_hub import fake_hub
from training.start.base import FOR_CPU, FOR_GPU, choose_base
from training.yaml_files import ConfigError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that has the model for CPUs; what it is asked for."""
    with fake_hub(FOR_CPU, tmp_path) as (address, asked):
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield asked


def test_a_hub_that_answers_gives_a_pretrained_student(hub: list[str]) -> None:
    assert choose_base(None, gpu=False) == (FOR_CPU, "pretrained, of a size for a CPU")
    assert hub == [f"api/models/{FOR_CPU}"]
    assert choose_base(FOR_CPU, gpu=True) == (FOR_CPU, "as --model says")


def test_a_model_that_the_hub_does_not_have(hub: list[str]) -> None:
    name, why = choose_base(None, gpu=True)
    assert name is None
    assert why == f"{FOR_GPU} cannot be had: {constants.ENDPOINT} has no such model"
    with pytest.raises(ConfigError, match=r"^--model: me/mine is no folder, and http.* has no suc"):
        choose_base("me/mine", gpu=False)
    with pytest.raises(ConfigError, match="give the folder of a T5, or `scratch`"):
        choose_base("not a name", gpu=False)


def test_without_a_hub_a_student_starts_from_nothing(
    unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused_port}")
    name, why = choose_base(None, gpu=False)
    assert name is None
    assert "cannot be reached (ConnectionError)" in why
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert choose_base(None, gpu=False).why == f"{FOR_CPU} cannot be had: HF_HUB_OFFLINE is set"


def test_a_cached_model_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "cache" / f"models--{FOR_CPU.replace('/', '--')}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "config.json").write_text("{}")
    assert choose_base(None, gpu=False).name is None  # without its weights
    (snapshot / "model.safetensors").write_bytes(b"")
    assert choose_base(None, gpu=False).name == FOR_CPU


def test_what_the_user_names_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert choose_base("scratch", gpu=True).name is None
    assert choose_base(str(tmp_path), gpu=False) == (str(tmp_path), "as --model says")
