"""Everything that an operator can declare."""

from flowc import operator, workflow


@operator(cpus=0.5)
def half() -> int: ...


@operator(cpus=4.0, memory="1.5GB", timeout="1.5h")
def big() -> int: ...


@operator(gpus=2, gpu_memory=500, retries=3, backoff="250ms")
def train() -> int: ...


@operator(gpus="2-4", gpu=("H100", "A100"), linked=True, uses={"licence": 1, "connection": 2})
def tune() -> int: ...


@operator(isolation="fork", retries=1, retry_on={"timeout", "hang"}, heartbeat="1m")
def lonely() -> int: ...


@operator(cpus=1, memory=0, retries=0, backoff="1s", timeout=0, retry_on=(), heartbeat=0, isolation="warm")
def defaults() -> int: ...


@workflow
def main():
    return half(), big(), train(), tune(), lonely(), defaults()
