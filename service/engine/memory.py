"""Memory: free memory goes back to the system."""

import ctypes

M_MMAP_THRESHOLD = -3  # glibc's
LARGE = 2**20  # bytes


def map_large_arrays() -> None:
    """Has glibc give every array of LARGE bytes pages of its own, for the whole process.

    Such an array takes no memory before it is written to, and gives it back when it is freed. By
    default glibc stops this for sizes that it has seen freed. It then writes the zeros, so that
    slots which nobody uses cost memory.
    """
    _call("mallopt", M_MMAP_THRESHOLD, LARGE)


def release_memory() -> None:
    """Has glibc return all free pages, also those between pages in use."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)  # other C libraries have none
    if function is not None:
        function(*map(ctypes.c_long, arguments))
