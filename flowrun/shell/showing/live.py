"""A frame of the live view: how far a run is, what its devices do, where it is just now, what failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from flowc.plan.text import clipped, printable, width
from flowrun.core.progress import Progress, SiteRow
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.amounts import duration, size

if TYPE_CHECKING:
    from rich.text import Text

_BAR = 24  # cells
_EIGHTHS = " ▏▎▍▌▋▊▉"
_MOST_GPUS = 16
_NAME = 36  # cells of a node's or site's name, at most

Piece = tuple[str, str]  # text and its style
Line = list[Piece]


class Room(NamedTuple):
    """Lines that the parts of a frame may take."""

    sites: int
    gpus: int
    running: int
    failures: int


def room(height: int) -> Room:
    """What fits into a terminal of that height, with room for what scrolls by."""
    lines = max(4, min(height - 6, 40))
    return Room(
        max(2, lines * 2 // 5), min(_MOST_GPUS, lines // 4), max(2, lines // 4), 3 if lines >= 12 else 1
    )


def frame(
    run: str, state: State, progress: Progress, now_ms: float, cells: int, lines: int, alert: str = ""
) -> Text:
    """The frame, of at most so many lines, each of at most so many cells; above all an alert, if any."""
    from rich.text import Text

    fits = room(lines)
    parts: list[list[Line]] = [
        [[(printable(alert), "bold red")]] if alert else [],
        [_head(run, state, progress, now_ms, cells), _counts(state, progress, now_ms)],
        list(_devices(state, fits.gpus, cells)),
        list(_sites(state, progress, fits.sites)),
        list(_running(state, now_ms, fits.running, cells)),
        list(_failures(progress, fits.failures)),
    ]
    parts = [part for part in parts if part]
    airy = sum(map(len, parts)) + len(parts) < lines
    found: list[Line] = []
    for part in parts:
        found += [[]] if airy and found else []
        found += part
    text = Text(end="")
    for i, line in enumerate(found[: max(2, lines - 1)]):
        text.append("\n" if i else "")
        left = cells - 1
        for piece, style in line:
            shown = clipped(piece, left)
            text.append(shown, style or None)
            left -= width(shown)
            if left <= 0:
                break
    return text


def sentence(state: State, progress: Progress, now_ms: float) -> str:
    """How far a run is, in a line. A node that was skipped is done, too."""
    bad = _bad(state)
    done = len(state.tasks) - state.unfinished - sum(bad.values())
    parts = [f"{done:,} of {len(state.tasks):,} nodes done"]
    parts += [f"{count:,} {name}" for name, count in bad.items()]
    parts += [f"{len(state.running):,} running"] if state.running else []
    per_s = progress.per_s(now_ms)
    parts += [_pace(per_s)] if per_s >= 0.1 else []
    left = progress.left_ms(state, now_ms) if state.unfinished else None
    parts += [f"about {duration(left)} left"] if left is not None else []
    return ", ".join(parts)


def _head(run: str, state: State, progress: Progress, now_ms: float, cells: int) -> Line:
    total = len(state.tasks)
    bad = sum(_bad(state).values())
    done = total - state.unfinished - bad
    left = progress.left_ms(state, now_ms) if state.unfinished else None
    elapsed = duration(now_ms - state.opened_ms)
    clock = f"{elapsed}, about {duration(left)} left" if left is not None else elapsed
    name, how_far = printable(run), f" {_percent(done + bad, total)}  {done:,} of {total:,} nodes  "
    wide = max(8, min(40, cells - width(name) - len(how_far) - 36))
    bar = _bar(done, bad, total, wide)
    return [(name, "bold"), ("  ", ""), *bar, (how_far, ""), (clock, "cyan")]


def _counts(state: State, progress: Progress, now_ms: float) -> Line:
    queued = len(state.scheduler.queue)
    level, levels = progress.level(state)
    parts = [f"level {level:,} of {levels:,}", f"{len(state.running):,} running", f"{queued:,} ready"]
    parts += [f"{state.counts.kept:,} kept"] if state.counts.kept else []
    parts += [f"{progress.retries:,} retried"] if progress.retries else []
    parts += [_pace(progress.per_s(now_ms))]
    line: Line = [(", ".join(parts), "")]
    bad = ", ".join(f"{count:,} {name}" for name, count in _bad(state).items())
    return [*line, (f", {bad}", "red")] if bad else line


def _bad(state: State) -> dict[str, int]:
    of = state.counts.states
    found = {name: of.get(name, 0) for name in ("failed", "blocked", "cancelled")}
    return {name: count for name, count in found.items() if count}


def _devices(state: State, gpus: int, cells: int) -> Iterator[Line]:
    host = state.capacity
    running = list(state.running.values())
    placements = [task.placement for task in running if task.placement is not None]
    cpus = sum(placement.cpus for placement in placements)
    memory = sum(placement.memory_mb for placement in placements)
    line: Line = [("CPUs  ", "bold"), *_meter(cpus, host.cpus), (f" {cpus:g} of {host.cpus:g}", "")]
    if memory:
        line += [("   memory ", "bold"), *_meter(memory, host.memory_mb)]
        line += [(f" {size(memory)} of {size(host.memory_mb)}", "")]
    yield line
    by_gpu: dict[int, list[Task]] = {}
    for task in running:
        for index in task.placement.gpus if task.placement is not None else ():
            by_gpu.setdefault(index, []).append(task)
    busy = [gpu for gpu in host.gpus if gpu.index in by_gpu]
    for gpu in busy[:gpus]:
        on = by_gpu[gpu.index]
        held = sum(task.placement.gpu_memory_mb or gpu.memory_mb for task in on if task.placement)
        names = clipped(", ".join(printable(task.node.id) for task in on), max(10, cells - 45))
        line = [(f"GPU {gpu.index:<2}", "bold"), *_meter(held, gpu.memory_mb)]
        yield [*line, (f" {size(min(held, gpu.memory_mb)):>9} of {size(gpu.memory_mb)}  {names}", "")]
    told = [f"{len(busy) - gpus} more GPUs are held"] if len(busy) > gpus else []
    told += [f"{len(host.gpus) - len(busy)} GPUs are idle"] if len(host.gpus) > len(busy) else []
    if told:
        yield [(", ".join(told), "dim")]


def _sites(state: State, progress: Progress, most: int) -> Iterator[Line]:
    rows, more = progress.rows(state, most)
    wide = max((width(printable(row.site)) for row in rows), default=0)
    for row in rows:
        yield _site(row, min(wide, _NAME))
    told = [f"{more} more under way"] if more else []
    told += [f"{progress.sites('finished'):,} finished"] if progress.sites("finished") else []
    told += [f"{progress.sites('to come'):,} to come"] if progress.sites("to come") else []
    if told:
        yield [(f"  sites: {', '.join(told)}", "dim")]


def _site(row: SiteRow, wide: int) -> Line:
    name = clipped(printable(row.site), _NAME)
    bad = sum(row.ended.get(state, 0) for state in ("failed", "blocked", "cancelled"))
    done = sum(row.ended.values())
    line: Line = [
        (f"  {name}{' ' * max(0, wide - width(name))}  ", ""),
        *_bar(done - bad, bad, row.total, _BAR, row.running),
        (f" {done:,} of {row.total:,}", ""),
    ]
    line += [(f", {row.running:,} running", "yellow")] if row.running else []
    line += [(f", {bad:,} failed or blocked", "red")] if bad else []
    return line


def _running(state: State, now_ms: float, most: int, cells: int) -> Iterator[Line]:
    """What runs longest, with what was to be expected of it."""
    longest = sorted(state.running.values(), key=lambda task: (task.started_ms, task.index))
    longest = [task for task in longest if task.site.control == "none"]
    for task in longest[:most]:
        yield _one(state, task, now_ms, cells)
    if len(longest) > most:
        yield [(f"  ... and {len(longest) - most:,} more are running", "dim")]


def _one(state: State, task: Task, now_ms: float, cells: int) -> Line:
    ran_ms, expected_ms = now_ms - task.started_ms, state.expected.ms(task.site)
    name = clipped(printable(task.node.id), max(10, cells - 45))
    line: Line = [(f"  {duration(ran_ms):>10}  ", "yellow"), (name, "")]
    if expected_ms:
        late = ran_ms > 2 * expected_ms and ran_ms - expected_ms > 1000
        line.append((f"  of about {duration(expected_ms)}", "red" if late else "dim"))
    if task.attempt > 1:
        line.append((f"  attempt {task.attempt}", "dim"))
    return line


def _failures(progress: Progress, most: int) -> Iterator[Line]:
    for failed in list(progress.failures)[-most:]:
        first = failed.failure.message.splitlines()[0] if failed.failure.message else ""
        yield [
            (f"  failed {printable(failed.node)}", "red"),
            (f"  [{failed.failure.code}] {printable(first)}", ""),
        ]


def _bar(done: float, bad: float, total: float, wide: int, running: float = 0) -> Line:
    """`██████▍·····`: done, in red what went wrong, in yellow what runs."""
    total = max(total, done + bad + running, 1e-9)
    full = wide * done / total
    cells = int(full)
    eighth = int((full - cells) * 8)
    red = min(wide - cells, max(1 if bad else 0, round(wide * bad / total)))
    yellow = min(wide - cells - red, max(1 if running else 0, round(wide * running / total)))
    bar = "█" * cells
    rest = wide - cells - red - yellow
    if eighth and rest and not red and not yellow:
        bar += _EIGHTHS[eighth]
        rest -= 1
    pieces: Line = [(bar, "green"), ("█" * red, "red"), ("▒" * yellow, "yellow"), ("·" * rest, "dim")]
    return [piece for piece in pieces if piece[0]]


def _meter(held: float, total: float) -> Line:
    """How much of something is held."""
    return [(text, "blue" if style == "green" else style) for text, style in _bar(held, 0, total, 10)]


def _percent(done: int, total: int) -> str:
    return f"{100 * done // max(1, total):3d} %"


def _pace(per_s: float) -> str:
    if per_s >= 10 or not per_s:
        return f"{per_s:,.0f} a second"
    return f"{per_s:.1f} a second" if per_s >= 1 else f"{per_s * 60:.0f} a minute"
