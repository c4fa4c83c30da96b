"""What workers print, on its way from their pipes to the logs of attempts."""

import os
import re
import tracemalloc

import pytest

from flowrun.shell.workers import output
from flowrun.shell.workers.output import HEAD_BYTES, TAIL_BYTES, Log, Outputs, text_of

STDOUT, STDERR = 0, 1
ROW = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (stdout|stderr) ([FP]) (.*)", re.DOTALL)


def logged(path, *printed):
    """The log of an attempt that printed some chunks, each given as a stream and its bytes."""
    log = Log(path)
    for stream, data in printed:
        log.add(stream, data)
    log.end()
    return path.read_bytes() if path.exists() else None


@pytest.fixture
def path(tmp_path):
    return tmp_path / "logs" / "node.1.log"


def rows(log):
    return [ROW.fullmatch(row).groups() for row in log.removesuffix(b"\n").split(b"\n")]


class TestRows:
    def test_a_line_is_a_row_with_its_time_and_stream(self, path):
        log = logged(path, (STDOUT, b"one\ntwo\n"), (STDERR, b"three\n"))
        assert rows(log) == [
            (b"stdout", b"F", b"one"), (b"stdout", b"F", b"two"), (b"stderr", b"F", b"three")
        ]  # fmt: skip
        assert text_of(log) == "one\ntwo\nthree\n"

    def test_where_nothing_is_printed_there_is_no_file(self, path):
        assert logged(path) is None
        assert not path.parent.exists()

    def test_a_line_that_comes_in_pieces_is_one(self, path):
        log = logged(path, (STDOUT, b"on"), (STDERR, b"between\n"), (STDOUT, b"e\ntw"), (STDOUT, b"o\n"))
        assert rows(log) == [
            (b"stderr", b"F", b"between"), (b"stdout", b"F", b"one"), (b"stdout", b"F", b"two")
        ]  # fmt: skip

    def test_no_line_end_at_the_end(self, path):
        log = logged(path, (STDOUT, b"one\ntwo"))
        assert rows(log)[-1] == (b"stdout", b"P", b"two")
        assert text_of(log) == "one\ntwo"

    def test_a_long_line_is_written_in_parts_and_read_as_one(self, path):
        log = logged(path, *[(STDOUT, b"x" * 10_000)] * 10, (STDOUT, b"end\n"), (STDOUT, b"next\n"))
        tags = [tag for _, tag, _ in rows(log)]
        assert tags[-2:] == [b"F", b"F"]
        assert {*tags[:-2]} == {b"P"}
        assert text_of(log) == "x" * 100_000 + "end\nnext\n"

    def test_bytes_are_kept_as_they_are(self, path):
        everything = bytes(range(256))
        log = logged(path, (STDOUT, everything), (STDOUT, b"\n"))
        assert b"\n".join(text for *_, text in rows(log)) == everything
        assert text_of(log) == everything.decode("utf-8", "replace") + "\n"

    def test_what_is_no_row_is_left_out_of_the_text(self, path):
        log = logged(path, (STDOUT, b"one\n"))
        assert text_of(log + log[:20]) == "one\n"

    def test_a_folder_that_cannot_be_made_ends_nothing(self, tmp_path):
        (tmp_path / "file").write_text("")
        assert logged(tmp_path / "file" / "log", (STDOUT, b"lost\n")) is None


class TestBound:
    @pytest.fixture
    def little(self, monkeypatch):
        """Bounds that a test can reach."""
        monkeypatch.setattr(output, "HEAD_BYTES", 1000)
        monkeypatch.setattr(output, "TAIL_BYTES", 500)

    def test_beginning_and_end_are_kept_and_what_is_left_out_is_told(self, path, little):
        lines = [b"%03d\n" % n for n in range(400)]
        log = logged(path, *[(STDOUT, line) for line in lines])
        texts = [text for *_, text in rows(log)]
        cut = next(i for i, text in enumerate(texts) if b"left out" in text)
        head, tail = texts[:cut], texts[cut + 1 :]
        assert head == [b"%03d" % n for n in range(len(head))]
        assert tail == [b"%03d" % n for n in range(400 - len(tail), 400)]
        row = len(log.split(b"\n", 1)[0]) + 1
        assert 1000 <= len(head) * row < 1000 + row
        assert 500 <= len(tail) * row < 500 + row
        assert texts[cut] == b"[%d bytes of the log are left out here]" % ((400 - len(texts) + 1) * row)

    def test_what_just_fits_is_kept_whole(self, path, little):
        log = logged(path, *[(STDOUT, b"x\n")] * 30)
        assert text_of(log) == "x\n" * 30

    @pytest.mark.parametrize("stream", [STDOUT, STDERR])
    def test_of_a_line_that_does_not_end_too(self, path, little, stream):
        log = logged(path, *[(stream, b"%d" % (n % 10) * 20_000) for n in range(20)], (stream, b"the end"))
        head, note, tail = re.split(r"(\[\d+ bytes of the log are left out here\]\n)", text_of(log))
        assert {*head} == {"0"}
        assert tail.endswith("9the end")
        assert note

    @pytest.mark.slow
    @pytest.mark.parametrize("chunk", [b"x" * 65_536, b"a line\n" * 9000, b"\n" * 65_536])
    def test_a_gigabyte_is_taken_in_bounded_memory(self, path, chunk):
        log = Log(path)
        tracemalloc.start()
        for _ in range((1 << 30) // len(chunk)):
            log.add(STDOUT, chunk)
        log.end()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        longest = 40 * len(chunk)  # as rows: each line gets its time
        assert peak < TAIL_BYTES + 3 * longest
        assert HEAD_BYTES <= path.stat().st_size <= HEAD_BYTES + TAIL_BYTES + 3 * longest
        with path.open("rb") as file:
            file.seek(HEAD_BYTES)
            assert b"bytes of the log are left out here" in file.read()


class TestOutputs:
    @pytest.fixture
    def outputs(self):
        outputs = Outputs()
        yield outputs
        outputs.end()
        for descriptor in (*outputs.reads, *outputs.writes):
            os.close(descriptor)

    def test_go_to_the_log_of_the_attempt_that_runs(self, tmp_path, outputs):
        for n in range(2):
            outputs.begin(lambda n=n: tmp_path / str(n))
            os.write(outputs.writes[STDOUT], b"out %d\n" % n)
            os.write(outputs.writes[STDERR], b"err %d" % n)
            outputs.drain()
            outputs.end()
        assert [text_of((tmp_path / str(n)).read_bytes()) for n in range(2)] == [
            "out 0\nerr 0", "out 1\nerr 1"
        ]  # fmt: skip

    def test_what_nobody_runs_for_is_taken_and_dropped(self, tmp_path, outputs):
        os.write(outputs.writes[STDOUT], b"between two attempts\n")
        outputs.drain()
        outputs.begin(lambda: tmp_path / "log")
        outputs.drain()
        outputs.end()
        assert os.listdir(tmp_path) == []

    def test_nobody_waits_for_more(self, outputs):
        assert outputs.read(STDOUT)  # nothing is there, and may come

    def test_when_it_was_last_heard(self, monkeypatch, outputs):
        monkeypatch.setattr(output, "now_ms", lambda: 4711)
        outputs.drain()
        assert outputs.heard_ms == 0
        os.write(outputs.writes[STDERR], b"x")
        outputs.drain()
        assert outputs.heard_ms == 4711

    def test_the_end_of_a_stream(self):
        outputs = Outputs()
        os.write(outputs.writes[STDOUT], b"last words")
        for descriptor in outputs.writes:
            os.close(descriptor)
        assert [outputs.read(STDOUT), outputs.read(STDOUT)] == [True, False]
        for descriptor in outputs.reads:
            os.close(descriptor)

    def test_pipes_are_not_inherited(self, outputs):
        assert not any(map(os.get_inheritable, (*outputs.reads, *outputs.writes)))


class TestOfRealWorkers:
    def test_goes_to_the_log(self, bench):
        bench.run("talk")
        lines = bench.log().splitlines()
        assert [line for line in lines if line != "on stderr"] == [
            "on stdout", "from a child", "\ufffd\x00", "the end"
        ]  # fmt: skip
        assert "on stderr" in lines
        rows = (bench.folder / "node.log").read_bytes().splitlines()
        assert b" stdout F \xff\x00" in rows[2] + rows[3]

    def test_of_an_exception_too_with_the_operators_frames_only(self, bench):
        ended = bench.run("raises", text="wrong")
        assert ended.failure.code == "FR201"
        assert ended.failure.message == "ValueError: wrong"
        assert "ValueError: wrong" in bench.log()
        assert 'ops.py", line' in bench.log()
        assert "worker.py" not in bench.log()

    def test_is_that_of_the_attempt_that_printed_it(self, bench):
        for n in range(20):
            bench.run("changes", node=f"n{n}", what=f"print({n}, 'of {n}', end='')")
        assert [bench.log(f"n{n}") for n in range(20)] == [f"{n} of {n}" for n in range(20)]

    def test_without_any_there_is_no_log(self, bench):
        bench.run("add", a=1)
        assert list(bench.folder.glob("*.log")) == [bench.folder / "zygote.log"]

    def test_of_one_who_is_killed_is_not_lost(self, bench):
        bench.run("changes", what="os.write(1, b'last words'); os.kill(os.getpid(), 9)")
        assert bench.log() == "last words"
