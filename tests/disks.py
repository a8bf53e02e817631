"""A disk that is full, for whoever may not mount one: no file of this process can become larger than so many bytes."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_larger_than(size: int) -> Iterator[None]:
    """What is written beyond it raises OSError with EFBIG, after the part for which there was room, as ENOSPC does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
