"""Loading a model onto a GPU, and measuring what it has there.

A session's arena can be bounded only when it is made, and what it needs is known only after it has run. So a
model is loaded twice, the first time with all that the process may have there: it runs as many rows as it
ever does, what it took is what NVML says, and that, with some room, bounds the second one. Where requests may
bring what was not run, it is loaded once, and not bounded.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import msgspec

from flowc.plan.diagnostics import Refused
from flowserve.core.engine.profile import ROWS_MAX, sample
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.seat import GPU_THREADS, Gpu, Seat
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature
from flowserve.shell.models import gpus
from flowserve.shell.models.proving import load_proven
from flowserve.shell.models.sessions import keep_no_more

_ROOM = 1.25
_ROOM_BYTES = 32 * 2**20

_Result = TypeVar("_Result")


class Seating(msgspec.Struct, frozen=True):
    """The seat that a model is to have, on which GPU that is, and how many bytes its files have."""

    seat: Seat
    gpu: Gpu
    files_bytes: int


def seated(repository: Path, key: Key, settings: ModelSettings, seating: Seating) -> Model:
    """Load a version onto a GPU; its seat says how much it has there. Raises `Refused` as `load_proven`.

    Where it turns out not to compute there although it may, its seat is on the host.
    """
    seat, gpu = seating.seat, seating.gpu
    tensorrt = settings.providers == "tensorrt"
    before = gpus.held(gpu)
    told = before is not None and before.own is not None
    # Others would disturb what is measured where the driver does not tell processes apart; and an engine that
    # one has built the others can read.
    with _alone(gpu) if tensorrt or not told else contextlib.nullcontext():
        engines = _engines(key, gpu, settings) if tensorrt else ""
        before = gpus.held(gpu)
        limit_bytes = seat.bytes - seat.beside if seat.bounded else gpu.bytes
        model = load_proven(repository, key, settings, seat, limit_bytes, engines)
        if not model.seat.on_gpu:
            return model
        ran = _fill(model)
        if seat.bounded:
            return model
        grown = gpus.grown(before, gpus.held(gpu))
        if grown is None:
            return model  # and an estimate it stays
        by_thread = _taken_by_a_thread(model, gpu) if ran else 0
        arena = bound(grown - by_thread, seating.files_bytes, settings.concurrency)
        beside = by_thread * GPU_THREADS
        if not ran or not _is_all(model.signature):  # requests may well need more
            keep_no_more(model)
            return msgspec.structs.replace(model, seat=Seat(seat.space, max(arena + beside, seat.bytes)))
        seat = Seat(seat.space, arena + beside, bounded=True, beside=beside)
        if tensorrt:  # whose memory is not of the arena
            return msgspec.structs.replace(model, seat=seat)
        del model
        with contextlib.suppress(Refused):
            model = load_proven(repository, key, settings, seat, arena)
            if _fill(model):
                return model
            del model
        # It would need more in pieces than it took at once.
        seat = msgspec.structs.replace(seat, bounded=False)
        model = load_proven(repository, key, settings, seat, limit_bytes)
        _fill(model)
        return model


def in_passing(work: Callable[[], _Result]) -> _Result:
    """Do something on a thread that ends then: what CUDA's libraries keep for it, the next thread has."""
    with ThreadPoolExecutor(1, "seating") as thread:
        return thread.submit(work).result()


def on_gpu(settings: ModelSettings) -> ModelSettings:
    """Settings in which what was left open is as it is good on a GPU.

    One run at a time, unless it is said otherwise: they would take turns there, each with memory of its own,
    and what waits for one goes together.
    """
    threads = 1 if settings.threads == "auto" else settings.threads
    return msgspec.structs.replace(settings, threads=threads, concurrency=settings.concurrency or 1)


def bound(grown: int, files_bytes: int, concurrency: int) -> int:
    """How many bytes a model may have that took so many in one run, for as many as run beside each other.

    It has its files' weights at least: what went meanwhile, since a request still held it, can hide them.
    """
    grown = max(grown, files_bytes)
    running = grown - files_bytes
    return int((grown + running * (max(1, concurrency) - 1)) * _ROOM) + _ROOM_BYTES


def _is_all(signature: Signature) -> bool:
    """Whether requests differ in their number of rows only, so that what was run is like what will be."""
    return not any(-1 in spec.shape[1:] for spec in signature.inputs)


def _fill(model: Model) -> bool:
    """Run as many rows as a batch has at most, then one: TensorRT has seen the range of them. Then others.

    For each number of rows cuDNN may want other workspaces, and the arena does not join its pieces.

    Returns whether it ran.
    """
    largest = max(ROWS_MAX, model.settings.max_rows)
    return all(_run(model, rows) for rows in (largest, 1, *_between(largest), largest))


def _between(largest: int) -> Iterator[int]:
    """Numbers of rows, each half as large again as the one before."""
    rows = 2
    while rows < largest:
        yield rows
        rows += max(1, rows // 2)


def _run(model: Model, rows: int) -> bool:
    """Run made-up rows; a model may refuse them."""
    try:
        model.run(sample(model.signature.inputs, rows), [spec.name for spec in model.signature.outputs])
    except (Refused, MemoryError, ValueError):
        return False
    return True


def _taken_by_a_thread(model: Model, gpu: Gpu) -> int:
    """How much one more thread takes that runs a model: cuBLAS and cuDNN keep a workspace for each."""
    before = gpus.held(gpu)
    in_passing(lambda: _run(model, 1))
    return gpus.grown(before, gpus.held(gpu)) or 0


@contextlib.contextmanager
def _alone(gpu: Gpu) -> Iterator[None]:
    """Hold a GPU against the other processes of this user that load something there."""
    folder = _folder("locks")
    if folder is None:
        yield
        return
    with (folder / f"{gpu.uuid or gpu.number}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _engines(key: Key, gpu: Gpu, settings: ModelSettings) -> str:
    """The folder of a version's TensorRT engines, which are for one kind of GPU and one of each library.

    No two versions share one: onnxruntime tells engines apart by the graph's name.
    """
    made = [f"{name}-{_version(name)}" for name in ("onnxruntime-gpu", "tensorrt")]
    kind = re.sub(r"[^\w.-]+", "-", gpu.name) or "gpu"
    of = f"{key.name}-{key.version}-{key.stamp}{'-fp16' if settings.fp16 else ''}"
    return str(_folder("tensorrt", "_".join([*made, kind]), of) or "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "any"


def _folder(*names: str) -> Path | None:
    """A folder for what can be made again, that nobody else can write to; None where there can be none."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME") or "", ".cache")
    if not os.path.isabs(cache):
        return None
    folder = Path(cache, "flowserve")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.getuid() or found.st_mode & 0o022:
            return None
        folder = folder.joinpath(*names)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder
