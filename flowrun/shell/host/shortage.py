"""Telling that memory ran out from all else that an operator may fail with."""

from __future__ import annotations

OUT_OF_MEMORY, OUT_OF_GPU_MEMORY = "FR213", "FR216"
_MB = 1024 * 1024
# What libraries say where they have no class of its own for it; the devices' names come before memory's.
_GPU_WORDS = (
    "cuda out of memory",
    "cuda error: out of memory",
    "cublas_status_alloc_failed",
    "hip out of memory",
)
_GPU_CLASSES = {"OutOfMemoryError"}  # of torch and cupy


def code_of(error: BaseException) -> str:
    """The code of an error by which memory ran out, the host's or a GPU's; "" if it is another one.

    What it was raised from or while handling counts as well: an operator may have wrapped it.
    """
    for each in _chain(error):
        if isinstance(each, MemoryError) and not _is_of_gpu(each):
            return OUT_OF_MEMORY
        if _is_of_gpu(each):
            return OUT_OF_GPU_MEMORY
    return ""


def wanted_mb(error: BaseException) -> int:
    """How much memory the operator wanted in vain, as far as the error tells: numpy's does."""
    for each in _chain(error):
        size = getattr(each, "_total_size", None)
        if isinstance(each, MemoryError) and isinstance(size, int):
            return int(size) // _MB
    return 0


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in found:
        found.append(at)
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return found


def _is_of_gpu(error: BaseException) -> bool:
    name, module = type(error).__name__, type(error).__module__.partition(".")[0]
    if name in _GPU_CLASSES and module in ("torch", "cupy"):
        return True
    if not isinstance(error, RuntimeError):
        return False
    text = str(error)[:1000].lower()
    return any(words in text for words in _GPU_WORDS)
