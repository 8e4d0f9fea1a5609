"""Memory that is kept from step to step."""

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# The names and numbers of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_INT = 2**31 - 1
_LARGEST_MMAP_THRESHOLD = 32 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep the memory that its tensors free, up to 2 GiB of it.

    A training step frees all that it took. glibc hands most of it back to the system, and the next
    step gets it back page by page, which ``docs/performance.md`` measures. Only tensors of less
    than 32 MiB are kept. On systems without glibc nothing happens.

    Returns:
        Whether it could be arranged.

    Example:
        >>> arranged = keep_freed_memory()
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
    return bool(kept and mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD))
