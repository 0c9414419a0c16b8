"""Settings: each one is an environment variable DUET_… and a command line flag."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    CliImplicitFlag,
    NoDecode,
    SettingsConfigDict,
)

from service.admission import MAX_QUEUE, TIMEOUT
from service.engine.devices import DeviceChoice
from service.logs import LogFormat, LogLevel
from tasks.problems import in_words

KEY = re.compile(r"[!-~]+")


BUNDLES = Path(__file__).parent / "bundles"
EMBEDDED_STUDENT = BUNDLES / "svamp-numbers"
EMBEDDED_STUDENTS = [EMBEDDED_STUDENT, BUNDLES / "svamp-operations"]


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def split(value: Any) -> Any:
    """Makes a list of `a,b`, and of `[a, "b,c"]` (a flag given twice)."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        return [part for item in value for part in str(item).split(",") if part]
    return value


def _check_key(key: SecretStr) -> SecretStr:
    if not KEY.fullmatch(key.get_secret_value()):
        raise ValueError("a key may hold ASCII letters, digits and signs, and no spaces")
    return key


def _keys_in(file: Path | None) -> list[SecretStr]:
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ValueError(f"the file cannot be read: {reason}") from error
    return [_check_key(SecretStr(line.strip())) for line in lines if line.strip()]


def _check_file(file: Path | None) -> Path | None:
    if file is not None and not _keys_in(file):
        raise ValueError("the file holds no key")
    return file


Keys = Annotated[
    list[Annotated[SecretStr, AfterValidator(_check_key)]], NoDecode, BeforeValidator(split)
]
KeysFile = Annotated[Path | None, AfterValidator(_check_file)]

# settings of every engine, in the service and in bulk jobs
DeviceSetting = Annotated[
    DeviceChoice,
    Field(
        description="where a model computes; auto: cuda if a GPU can be used and the bundle is not "
        "in int8, else cpu"
    ),
]
ThreadsSetting = Annotated[
    int,
    Field(
        ge=1,
        le=256,
        description="threads that a model computes with; by default the number of cores",
    ),
]
MaxRowsSetting = Annotated[
    int, Field(ge=1, le=1024, description="texts that a model generates at once; the others wait")
]
SpeculateSetting = Annotated[
    bool,
    Field(description="whether to draft tokens ahead; without drafts, the same texts take longer"),
]


# of the settings of every command that serves: flags and environment variables
SOURCES: Final = SettingsConfigDict(
    env_prefix="DUET_",
    cli_kebab_case=True,
    cli_avoid_json=True,
    cli_show_env_vars=True,
    cli_hide_none_type=True,
    frozen=True,
)


class Settings(BaseSettings):
    """Serves students that predict a label and explain it."""

    model_config = SOURCES

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    fd: int | None = Field(
        None,
        ge=0,
        description="file descriptor of a listening TCP socket, from the program that starts the "
        "service, such as systemd; host and port are then ignored",
    )
    models: Annotated[list[Path], NoDecode, BeforeValidator(split), Field(min_length=1)] = Field(
        [str(folder) for folder in EMBEDDED_STUDENTS],
        validate_default=True,
        description="bundles, or folders that hold bundles, separated by commas; the first model "
        "is the default. NAME=FOLDER serves a bundle under another name",
    )
    device: DeviceSetting = "auto"
    threads: ThreadsSetting = available_cores()
    max_rows: MaxRowsSetting = 32
    max_queue: int = Field(
        MAX_QUEUE,
        ge=0,
        description="inputs that may wait beyond max_rows; further requests are refused with 429",
    )
    timeout: float = Field(
        TIMEOUT,
        gt=0,
        allow_inf_nan=False,
        description="seconds after which the service gives up a request",
    )
    speculate: SpeculateSetting = True
    grace_period: int = Field(
        10,
        ge=0,
        description="seconds that open requests may take to finish when the service must stop",
    )
    max_client_batch: int = Field(
        32,
        ge=1,
        description="inputs that one request may hold. A longer list than max_rows + max_queue is "
        "refused with 429 unless the model has nothing in work",
    )
    max_body_bytes: int = Field(2 * 2**20, ge=1, description="size that a request may have")
    body_timeout: float = Field(
        30.0,
        gt=0,
        allow_inf_nan=False,
        description="seconds in which the whole body of a request must arrive",
    )
    api_keys: Keys = Field(
        [],
        description="keys, separated by commas; every request must have one. Without keys, anyone "
        "may use the service",
    )
    api_keys_file: KeysFile = Field(None, description="a file with more of these keys, one a line")
    admin_keys: Keys = Field(
        [],
        description="keys that may do everything, separated by commas. Without them, nobody may "
        "use the routes under /admin",
    )
    admin_keys_file: KeysFile = Field(
        None, description="a file with more of these keys, one a line"
    )
    max_requests_per_key: int | None = Field(
        None, ge=1, description="requests that a key may have in work at once"
    )
    metrics: Literal["open", "key", "off"] = Field(
        "open", description="whether /metrics is open to all, needs a key, or does not exist"
    )
    docs: bool = Field(True, description="whether to serve /docs and /openapi.json")
    cors_origins: Annotated[list[str], NoDecode, BeforeValidator(split)] = Field(
        [],
        description="origins whose pages may use the service from a browser, separated by commas; "
        "* for any",
    )
    check: CliImplicitFlag[bool] = Field(
        False,
        description="whether to verify the settings and the bundles, print the models, and exit",
    )
    log_format: LogFormat = Field("console", description="how lines of the log are written")
    log_level: LogLevel = Field(
        "info",
        description="the lowest level that is logged; requests are info, successful health checks "
        "are debug",
    )
    log_inputs: bool = Field(False, description="whether to log the inputs of requests too")

    @field_validator("metrics")
    @classmethod
    def _check_metrics(cls, value: str, info: ValidationInfo) -> str:
        if value == "key" and not (info.data.get("api_keys") or info.data.get("api_keys_file")):
            raise ValueError("there are no keys; set DUET_API_KEYS too")
        return value

    @property
    def admin(self) -> list[SecretStr]:
        """The keys that may do everything."""
        return [*self.admin_keys, *_keys_in(self.admin_keys_file)]

    @property
    def users(self) -> list[SecretStr]:
        """The keys that may use the service. If there are none, anyone may use it."""
        users = [*self.api_keys, *_keys_in(self.api_keys_file)]
        return [*users, *self.admin] if users else []


def problem_of(error: ValidationError) -> str:
    """The first problem of the settings, in one line."""
    problem = error.errors()[0]
    name = str(problem["loc"][0])
    flag = name.replace("_", "-")
    got = "" if name.endswith("_keys") else f", got {problem['input']!r}"
    if problem["type"] == "missing":
        got = ""
    return f"--{flag} (DUET_{name.upper()}): {in_words(problem)}{got}"
