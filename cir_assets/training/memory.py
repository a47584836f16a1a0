"""Memory that the steps of a training take anew each time, kept between them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MEBIBYTE = 1 << 20

# glibc's mallopt, by the numbers of malloc.h: what is kept at the top of the heap, what the heap grows by, from
# which size and how often memory comes from the system alone.
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within, what tensors on the CPU free stays with the process for the next ones.

    glibc hands large blocks back to the system at once; each step then waits until the same pages are found and
    cleared again, half a million of them at the Combiner's full width. Afterwards what is free is handed back.
    With another C library than glibc nothing happens.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        yield
        return
    library.mallopt(MMAP_MAX, 0)
    library.mallopt(TRIM_THRESHOLD, 2048 * MEBIBYTE - 1)
    library.mallopt(TOP_PAD, 256 * MEBIBYTE)
    try:
        yield
    finally:
        # Where glibc's own adjusting ends after blocks of 32 MiB, which it does not go on with once told.
        library.mallopt(MMAP_MAX, 65_536)
        library.mallopt(MMAP_THRESHOLD, 32 * MEBIBYTE)
        library.mallopt(TRIM_THRESHOLD, 64 * MEBIBYTE)
        library.mallopt(TOP_PAD, MEBIBYTE // 8)
        library.malloc_trim(0)
