import time

from flowrun.shell import lookout
from flowrun.shell.lookout import BRISK_S, look_out


def test_what_is_there_is_found_at_once():
    assert look_out(lambda: "it") == "it"


def test_what_comes_soon_is_found(monkeypatch):
    monkeypatch.setattr(lookout, "BRISK_S", 60)
    answers = iter([None, None, "it"])
    assert look_out(lambda: next(answers)) == "it"


def test_nobody_looks_for_long():
    began = time.perf_counter()
    assert look_out(list) is None
    assert time.perf_counter() - began >= BRISK_S
