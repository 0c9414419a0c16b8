import gc
import os
from pathlib import Path

import pytest
import torch

from tests.support.bundles import drafting_bundle, labels_only_bundle, student, tiny_bundle
from tests.support.stepped_runner import runner, scheduler

__all__ = [  # fixtures
    "drafting_bundle",
    "labels_only_bundle",
    "runner",
    "scheduler",
    "student",
    "tiny_bundle",
]

ROOT = Path(__file__).parents[1]

torch.set_num_threads(1)  # the tests' students are too small for more


def pytest_collection_finish() -> None:
    """Else a look for garbage, as after each training, goes through all of torch: half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The public data sets, which the project does not ship; DUET_TEST_DATA names their folder."""
    folder = Path(os.environ.get("DUET_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "dss").is_dir():
        pytest.skip(f"no real data in {folder}; set DUET_TEST_DATA to a folder that holds dss/")
    return folder
