import ast
import time
from pathlib import Path

import flowrun
from flowrun.shell.clock import now_ms


def test_it_is_the_time_of_the_epoch():
    assert abs(now_ms() - time.time() * 1000) < 60_000


def test_a_clock_that_jumps_moves_nothing(monkeypatch):
    before = now_ms()
    for jump_s in (-3600, 86_400 * 365):
        moved = time.time_ns() + jump_s * 10**9
        monkeypatch.setattr(time, "time_ns", lambda moved=moved: moved)
        monkeypatch.setattr(time, "time", lambda moved=moved: moved / 1e9)
        assert 0 <= now_ms() - before < 60_000


def test_nothing_else_asks_for_the_time_of_day():
    """What is shown to people may: the time that a line of output is stamped with."""
    files = Path(flowrun.__file__).parent.rglob("*.py")
    asked = {file.name for file in files if any(map(_asks, ast.walk(ast.parse(file.read_text()))))}
    assert asked <= {"clock.py", "output.py"}


def _asks(node):
    match node:
        case ast.Attribute(value=ast.Name(id="time"), attr="time" | "time_ns"):
            return True
    return False
