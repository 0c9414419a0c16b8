import os

import pytest


def named(variable: str) -> str:
    if (image := os.environ.get(variable)) is None:
        pytest.skip(f"needs a container engine, and an image in {variable}: docker/verify.sh")
    return image


@pytest.fixture(scope="session")
def cpu_image() -> str:
    return named("DUET_TEST_IMAGE")


@pytest.fixture(scope="session")
def gpu_image() -> str:
    return named("DUET_TEST_GPU_IMAGE")
