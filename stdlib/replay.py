"""An operator that takes as long as some recorded task did: schedulers can be tried on real workflows."""

from flowc import operator


@operator
def task(
    task: str,
    runtime_s: float,
    output_bytes: int = 0,
    parents: list[str] | None = None,
    speed: float = 1.0,
) -> str:
    """Sleep as long as a recorded task ran, `speed` times faster; gives the task's id.

    `output_bytes` is what the task wrote; the replay writes nothing, a cost model may read it.
    """
    import time

    if not speed > 0:
        raise ValueError(f"`speed` must be positive, got {speed}")
    time.sleep(max(0.0, runtime_s) / speed)
    return task
