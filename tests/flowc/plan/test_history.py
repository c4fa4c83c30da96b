"""History files."""

import pytest

from flowc.plan.diagnostics import Refused
from flowc.plan.history import History, Module, Record, Runner, encode, read, read_all

ROWS = [Record("ops:fit", "c0de", 2, 30, 40, 5), Record("ops:fit", "01d0", 1, 3), Record("a:b", "", 7, 8)]


def test_what_is_written_is_read_back_sorted(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(encode(ROWS))
    assert read(path) == (ROWS[2], ROWS[1], ROWS[0])
    assert encode(read(path)) == path.read_bytes() == encode(ROWS[::-1])


def test_the_bytes():
    assert encode(ROWS[:1]).decode() == (
        '{"kind":"history","format":1}\n'
        '{"kind":"operator","op":"ops:fit","code":"c0de","runs":2,"wall_ms":30,"wall_ms_p90":40,"peak_mb":5}\n'
    )


HEAD = '{"kind":"history","format":1}\n'


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("", "is not a history", 1),
        ("[]", "malformed row", 1),
        ("{}", "malformed row", 1),
        ('{"kind":"plan","format":1,"workflow":"a:b"}', "malformed row", 1),
        (HEAD.replace("1", "2"), "is of format 2", 1),
        (HEAD + HEAD, "is not a history", 1),
        (HEAD + '{"kind":"operator","op":"a:b","code":"","runs":1,"wall_ms":-1}', "malformed row", 2),
        (HEAD + "\xff", "malformed row", 2),
    ],
)
def test_what_is_no_history(tmp_path, text, said, line):
    path = tmp_path / "history.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Refused) as refusal:
        read(path)
    (found,) = refusal.value.diagnostics
    assert (found.code, said in found.message, found.labels[0].place.line) == ("FC260", True, line)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(Refused, match=r"FC260.*No such file"):
        read(tmp_path / "nothing")


def test_all_that_it_says(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(encode(ROWS, [Module("torch", 3, 900), Module("numpy", 3, 80)], Runner(12, 9)))
    assert path.read_text().splitlines()[-3:] == [
        '{"kind":"module","module":"numpy","runs":3,"ms":80}',
        '{"kind":"module","module":"torch","runs":3,"ms":900}',
        '{"kind":"runner","runs":12,"start_ms":9}',
    ]
    assert read_all(path) == History(read(path), {"numpy": 80, "torch": 900}, Runner(12, 9))


def test_a_file_of_an_older_version_is_read(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(encode(ROWS))
    assert read_all(path) == History(read(path))
