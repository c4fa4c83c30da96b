"""What operators use to go on where they were."""

import os
import signal
import subprocess
import sys

from flowc import beat, resuming, scratch


def test_scratch_is_the_folder_of_the_node(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOW_SCRATCH", str(tmp_path / "deep" / "node"))
    (scratch() / "kept").write_text("1")
    assert (scratch() / "kept").read_text() == "1"


def test_outside_of_a_run_it_is_a_new_one(tmp_path, monkeypatch):
    monkeypatch.delenv("FLOW_SCRATCH", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert scratch() != scratch()


def test_a_beat_touches_a_file(tmp_path, monkeypatch):
    file = tmp_path / "beat"
    monkeypatch.setenv("FLOW_BEAT", str(file))
    monkeypatch.setattr(resuming, "_next_beat_s", 0)
    beat()
    os.utime(file, (5, 5))
    beat()  # so soon after the last
    assert file.stat().st_mtime == 5
    monkeypatch.setattr(resuming, "_next_beat_s", 0)
    beat()
    assert file.stat().st_mtime > 5


def test_a_beat_that_nobody_waits_for_or_that_cannot_be_noted_is_none(tmp_path, monkeypatch):
    for file in ("", str(tmp_path / "gone" / "beat")):
        monkeypatch.setenv("FLOW_BEAT", file)
        monkeypatch.setattr(resuming, "_next_beat_s", 0)
        beat()
    assert list(tmp_path.iterdir()) == []


def test_stopping_is_known_from_the_first_call_on():
    code = """
import signal
from flowc import stopping
print(stopping(), flush=True)
signal.raise_signal(signal.SIGTERM)
print(stopping(), stopping())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.returncode) == (["False", "True", "True"], 0)


def test_who_never_asks_is_ended():
    code = "import flowc, signal; flowc.scratch; signal.raise_signal(signal.SIGTERM)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, timeout=60, check=False)
    assert done.returncode == -signal.SIGTERM
