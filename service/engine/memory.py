"""Memory: returns freed memory to the operating system."""

import ctypes

M_MMAP_THRESHOLD = -3  # glibc's
LARGE = 2**20  # bytes


def map_large_arrays() -> None:
    """Makes glibc give every array of at least LARGE bytes its own pages, in the whole process.

    Such an array takes no memory before it is written to, and returns its memory when it is freed.
    By default glibc stops doing this for sizes that were freed before. It then writes the zeros,
    and unused slots cost memory.
    """
    _call("mallopt", M_MMAP_THRESHOLD, LARGE)


def release_memory() -> None:
    """Makes glibc return all free pages, even those between used pages."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)  # other C libraries lack it
    if function is not None:
        function(*map(ctypes.c_long, arguments))
