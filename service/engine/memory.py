"""Memory: what was freed goes back to the system."""

import ctypes


def release_memory() -> None:
    """Has glibc return all free pages, which it would keep for itself between those in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
    if trim is not None:
        trim(ctypes.c_size_t(0))
