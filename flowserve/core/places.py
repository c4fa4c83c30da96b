"""How many processes answer, and what memory their models may have, where nobody says it."""

from __future__ import annotations

from collections.abc import Sequence

SMALL_BYTES = 8 * 2**20  # of files: what has less may well run on the event loop
RUNTIME_BYTES = 100 * 2**20  # what a process takes without models
TIMES = 2  # a model in memory takes about so many times its files
SHARE = 8  # this part of the host's memory at most
_MODELS = 0.9  # of what processes leave: requests and answers need some, and so does who else is there


def places(processors: int, memory_bytes: int, models: Sequence[int]) -> int:
    """The number of processes for models whose files have so many bytes that every process loads.

    Small models run on the event loop, of which a process has one: more processes answer more requests.
    Large ones run on threads, as many as there are processors in a single process: there they wait in one
    queue, come to batches together, and are in memory once. Copies of models take a part of the memory at
    most.
    """
    if models and min(models) > SMALL_BYTES:
        return 1
    each_bytes = RUNTIME_BYTES + TIMES * sum(models)
    return max(1, min(processors, memory_bytes // SHARE // each_bytes))


def room(memory_bytes: int, processes: int) -> int:
    """The memory that the models of all processes may have: most of what these leave of the host's.

    Without a bound, models that are too many take the server along, each time that it is started again.
    """
    return int(_MODELS * max(memory_bytes - processes * RUNTIME_BYTES, memory_bytes // 2))
