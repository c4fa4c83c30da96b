from flowc.plan.text import columns, printable


def test_columns_are_aligned_and_the_last_is_not_padded():
    assert columns([("a", "long", "x"), ("bcd", "e", ""), ("", "", "last one")]) == [
        "a    long  x",
        "bcd  e",
        "           last one",
    ]


def test_no_rows_and_one_column():
    assert columns([]) == []
    assert columns([("a",), ("b ",)]) == ["a", "b"]


def test_rows_can_come_from_a_generator():
    assert columns((str(i), "x") for i in (1, 10)) == ["1   x", "10  x"]


def test_what_cannot_be_printed_is_escaped():
    assert printable("fit[ä] 日本") == "fit[ä] 日本"
    assert printable("\033[1m\n\u202e") == "\\x1b[1m\\n\\u202e"
