"""There is no hub here: the same loading code reads folders, by `datasets`' own builders."""

import json
from pathlib import Path

import datasets
import pytest

from training.data.hub import read_hub
from training.data.row import DataError

ROWS = [{"text": "a", "gold": "yes"}, {"text": "b", "gold": "no"}]


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("builder", ["json", "csv", "parquet"])
def test_a_folder_of_files(tmp_path: Path, builder: str) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    data = datasets.Dataset.from_list(ROWS)
    getattr(data, f"to_{builder}")(folder / f"train.{builder}")
    getattr(data.select([1]), f"to_{builder}")(folder / f"test.{builder}")
    assert list(read_hub(str(folder), None, None, "train")) == [
        (f"{folder} (train), row {number}", row) for number, row in enumerate(ROWS, 1)
    ]
    assert [row for _, row in read_hub(str(folder), None, None, "test")] == ROWS[1:]


def test_a_saved_data_set_with_classes(tmp_path: Path) -> None:
    labels = datasets.ClassLabel(names=["yes", "no"])
    features = datasets.Features({"text": datasets.Value("string"), "label": labels})
    columns = {"text": ["a", "b", "c"], "label": [1, 0, -1]}
    data = datasets.Dataset.from_dict(columns, features=features)
    data.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(tmp_path / "two")
    for folder in ("one", "two"):
        read = [row["label"] for _, row in read_hub(str(tmp_path / folder), None, None, "train")]
        assert read == ["no", "yes", None]
    assert len(list(read_hub(str(tmp_path / "two"), None, None, "test"))) == 1
    with pytest.raises(DataError, match="no split 'dev'; there is train, test"):
        list(read_hub(str(tmp_path / "two"), None, None, "dev"))
    with pytest.raises(DataError, match="no split 'test'; there is train"):
        list(read_hub(str(tmp_path / "one"), None, None, "test"))


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "train.json").write_text("{")
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "train.json").write_text(json.dumps(ROWS[0]))
    for path, name, split in (
        (str(tmp_path / "empty"), None, "train"),
        (str(tmp_path / "bad"), None, "train"),
        (str(tmp_path / "good"), None, "test"),
        (str(tmp_path / "good"), "other", "train"),
    ):
        with pytest.raises(DataError) as error:
            list(read_hub(path, name, None, split))
        assert str(error.value).startswith(f"{path} ({split}): `datasets` cannot load it: ")
        assert "\n" not in str(error.value)


def test_a_hub_that_cannot_be_reached_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unused_port: int
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{unused_port}")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)  # to be as it was, afterwards
    with pytest.raises(DataError, match="nobody/none: there is no such folder, and the hub cannot"):
        list(read_hub("nobody/none", None, None, "train"))
    with pytest.raises(DataError, match=r"^\./none: there is no such folder$"):
        list(read_hub("./none", None, None, "train"))
    assert not caplog.messages  # such as that it tries again
