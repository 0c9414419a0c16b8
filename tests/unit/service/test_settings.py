from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from service.settings import Settings


def read(*arguments: str) -> Settings:
    return CliApp.run(Settings, cli_args=list(arguments))


def test_the_defaults_serve_the_embedded_students_on_loopback() -> None:
    settings = read()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert [folder.name for folder in settings.models] == ["svamp-numbers", "svamp-operations"]
    assert settings.threads >= 1


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUET_PORT", "81")
    monkeypatch.setenv("DUET_MAX_ROWS", "8")
    settings = read("--port", "82")
    assert (settings.port, settings.max_rows) == (82, 8)


@pytest.mark.parametrize("arguments", [["a,b/c"], ["a", "--models", "b/c"]])
def test_models_are_separated_by_commas_or_given_apart(arguments: list[str]) -> None:
    assert read("--models", *arguments).models == [Path("a"), Path("b/c")]


def test_models_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUET_MODELS", "a,b/c")
    assert read().models == [Path("a"), Path("b/c")]


def test_keys_from_the_environment_and_from_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"third\r\n\n  fourth \n")
    monkeypatch.setenv("DUET_API_KEYS", "first,second")
    monkeypatch.setenv("DUET_API_KEYS_FILE", str(file))
    monkeypatch.setenv("DUET_ADMIN_KEYS", "chief")
    settings = read()
    users = [key.get_secret_value() for key in settings.users]
    assert users == ["first", "second", "third", "fourth", "chief"]
    assert [key.get_secret_value() for key in settings.admin] == ["chief"]


def test_admin_keys_alone_leave_the_service_open() -> None:
    assert read("--admin-keys", "chief").users == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n \n", "the file holds no key"),
        (b"a b\n", "a key may hold ASCII"),
        (b"\xff", "the file cannot be read: not text"),
        (None, "the file cannot be read: No such file"),
    ],
)
def test_a_file_without_keys_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValidationError, match=message):
        read("--api-keys-file", str(file))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "65536"],
        ["--threads", "0"],
        ["--max-rows", "many"],
        ["--models", ""],
        ["--timeout", "nan"],
        ["--api-keys", "a b"],
        ["--admin-keys", "é"],
        ["--max-requests-per-key", "0"],
        ["--metrics", "key"],
    ],
)
def test_values_out_of_range_are_refused(arguments: list[str]) -> None:
    with pytest.raises(ValidationError):
        read(*arguments)


def test_help_names_each_setting_with_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        read("--help")
    text = " ".join(capsys.readouterr().out.split())
    for name, field in Settings.model_fields.items():
        assert "--" + name.replace("_", "-") in text
        assert "DUET_" + name.upper() in text
        assert field.description in text
    assert "factory" not in text
