"""What only the run knows: loops, branches, order, and what to do at the end; and a workflow class."""

from dataclasses import dataclass

from flowc import Static, finally_, foreach, on_failure, operator, reduce, when, workflow


@dataclass
class Region:
    name: str
    rows: int


@operator
def regions(path: str) -> list[Region]:
    return [Region("north", 3), Region("south", 4)]


@operator(gpus="1-4", gpu_memory="2GB", priority=5, deterministic=True)
def score(region: Region, scale: float) -> float:
    return region.rows * scale


@operator
def add(left: float, right: float) -> float:
    return left + right


@operator
def exceeds(total: float, limit: float) -> bool:
    return total > limit


@operator(cache=False, secrets=["TOKEN"], env=["REGION"])
def publish(total: float, channel: str) -> str:
    return channel


@operator
def tell(text: str) -> None:
    print(text)


@workflow
class main:
    path: str
    quick: bool = False
    scales: Static[int] = 2

    def define(self):
        found = regions(self.path)
        totals = []
        for scale in range(1, self.scales + 1):
            scores = foreach(score, found, key="name", scale=float(scale))
            totals.append(reduce(add, scores, 0.0))
        known = reduce(add, [*totals, 1.0])
        choice = when(
            exceeds(known, 10.0),
            lambda: when(self.quick, "skipped", lambda: publish(known, "all")),
            lambda: publish(known, "few"),
        )
        on_failure(lambda: tell("failed"))
        on_failure(lambda: tell("no regions"), of=found)

        def clean():
            done = tell("done")
            tell("really", after=done)

        finally_(clean)
        return {"choice": choice, "each": foreach(tell, ["a", "b"], after=found)}
