"""Memory: what is not used goes back to the system."""

import ctypes

M_MMAP_THRESHOLD = -3  # glibc's
LARGE = 2**20  # bytes


def map_large_arrays() -> None:
    """Has glibc give arrays of LARGE bytes pages of their own, for the whole process.

    These take no memory before they are written to, and go back as soon as they are freed. By
    itself glibc stops to do so for arrays of a size that it has seen freed: then zeros are written,
    and slots that nobody uses cost as much as others.
    """
    _call("mallopt", M_MMAP_THRESHOLD, LARGE)


def release_memory() -> None:
    """Has glibc return all free pages, which it would keep for itself between those in use."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)  # other C libraries have none
    if function is not None:
        function(*map(ctypes.c_long, arguments))
