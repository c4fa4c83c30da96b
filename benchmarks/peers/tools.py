"""The tools that flowrun is set beside, each with two workers, and asked through the same few calls."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

WORKERS = 2


class Wish(NamedTuple):
    """How a tool is to come up.

    With `own` each node has a process of its own, with torch there if that can be; what that calls gives the
    command line of a new interpreter, for tools that have nothing else.
    """

    own: Callable[..., str] | None = None
    array_bytes: int = 0  # of the largest thing that is handed over


class Tool(NamedTuple):
    """`submit` a function with arguments, which may be what `submit` gave; wait for its `result`.

    `each` calls a function with each of some arguments, and waits for all; `apart` is a `submit` to another
    worker than the one that has the argument. After a node `renew` sees to it that the next has a process of
    its own, if the tool does not do that itself.
    """

    submit: Callable[..., Any]
    result: Callable[[Any], Any]
    each: Callable[[Callable[..., Any], range], Any]
    apart: Callable[..., Any]
    renew: Callable[[], Any] = lambda: None


@contextmanager
def pool(wish: Wish) -> Iterator[Tool]:
    """Python's ProcessPoolExecutor. It keeps nothing, and does not know that nodes depend on each other."""
    own: dict[str, Any] = {}
    if wish.own:
        import multiprocessing

        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(["torch"])
        own = {"mp_context": server, "max_tasks_per_child": 1}
    with ProcessPoolExecutor(WORKERS, **own) as executor:

        def submit(function: Callable[..., Any], *arguments: Any) -> Any:
            had = [a.result() if isinstance(a, Future) else a for a in arguments]
            return executor.submit(function, *had)

        def each(function: Callable[..., Any], items: range) -> Any:
            return [future.result() for future in [executor.submit(function, item) for item in items]]

        yield Tool(submit, Future.result, each, submit)


@contextmanager
def ray(wish: Wish) -> Iterator[Tool]:
    """Ray on this host. A process of its own is a new interpreter (`max_calls=1`)."""
    import ray

    memory = {"object_store_memory": 2 * wish.array_bytes + 2**28} if wish.array_bytes else {}
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR", **memory)
    remote: dict[Any, Any] = {}

    def submit(function: Callable[..., Any], *arguments: Any) -> Any:
        if function not in remote:
            remote[function] = ray.remote(max_calls=1)(function) if wish.own else ray.remote(function)
        return remote[function].remote(*arguments)

    def each(function: Callable[..., Any], items: range) -> Any:
        return ray.get([submit(function, item) for item in items])

    try:
        yield Tool(submit, ray.get, each, submit)
    finally:
        ray.shutdown()


@contextmanager
def dask(wish: Wish) -> Iterator[Tool]:
    """dask's LocalCluster. For a process of its own the worker is restarted, by a fork of one with torch."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import get_mp_context

    if wish.own:
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
        get_mp_context().set_forkserver_preload(["distributed", "torch"])
    with (
        LocalCluster(
            n_workers=1 if wish.own else WORKERS,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        names = list(client.scheduler_info()["workers"])

        def submit(function: Callable[..., Any], *arguments: Any) -> Any:
            return client.submit(function, *arguments, pure=False)

        def apart(function: Callable[..., Any], argument: Any) -> Any:
            client.gather(client.submit(len, [argument]))  # it is there
            (has,) = client.who_has([argument])[argument.key][:1]
            others = [name for name in names if name != has]
            return client.submit(function, argument, pure=False, workers=others)

        def each(function: Callable[..., Any], items: range) -> Any:
            return client.gather(client.map(function, items, pure=False))

        yield Tool(submit, lambda future: future.result(), each, apart, client.restart)


@contextmanager
def parsl(wish: Wish) -> Iterator[Tool]:
    """Parsl's HighThroughputExecutor. A process of its own is a program, as a `bash_app`."""
    import parsl
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    # It looks for programs of its own, which lie beside Python's, wherever that is.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    executor = HighThroughputExecutor(max_workers_per_node=WORKERS, provider=LocalProvider())
    with tempfile.TemporaryDirectory() as folder:
        parsl.load(parsl.Config(executors=[executor], run_dir=folder))
        apps: dict[Any, Any] = {}

        def submit(function: Callable[..., Any], *arguments: Any) -> Any:
            if function not in apps:
                apps[function] = parsl.bash_app(wish.own) if wish.own else parsl.python_app(function)
            return apps[function](*arguments)

        def each(function: Callable[..., Any], items: range) -> Any:
            return [future.result() for future in [submit(function, item) for item in items]]

        try:
            yield Tool(submit, lambda future: future.result(), each, submit)
        finally:
            parsl.dfk().cleanup()
            parsl.clear()


TOOLS: dict[str, Callable[[Wish], AbstractContextManager[Tool]]] = {
    "pool": pool,
    "ray": ray,
    "dask": dask,
    "parsl": parsl,
}
