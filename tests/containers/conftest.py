import os

import pytest


@pytest.fixture(scope="session")
def image() -> str:
    if (image := os.environ.get("DUET_TEST_IMAGE")) is None:
        pytest.skip("needs a container engine and an image: docker/verify.sh")
    return image
