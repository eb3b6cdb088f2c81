"""What glibc's allocator is told: a big buffer goes back to the system when it is freed.

Left alone it learns from the first big mail to keep such buffers for the next one, in as many
places as there are threads; a node that once had twenty big mails would stay that big.
"""

import ctypes

# As mallopt(3) numbers it.
M_MMAP_THRESHOLD = -3
BIG_BYTES = 512 * 1024


def return_big_buffers() -> None:
    """Set it for this process. Other C libraries than glibc have no such choice."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, BIG_BYTES)
