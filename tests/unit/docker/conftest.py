import shutil
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def tool() -> Callable[[str, str], str]:
    """Finds a program, or skips and says which of Debian's packages has it."""

    def find(name: str, package: str) -> str:
        if (found := shutil.which(name)) is None:
            pytest.skip(f"needs {name}, of Debian's package {package}")
        return found

    return find
