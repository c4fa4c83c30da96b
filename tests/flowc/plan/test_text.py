from flowc.plan.text import clipped, columns, printable, width


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


def test_wide_letters_take_two_cells_and_accents_none():
    assert [width(text) for text in ("abc", "日本", "e\u0301", "…", "")] == [3, 4, 1, 1, 0]
    assert columns([("日本", "x"), ("a", "y")]) == ["日本  x", "a     y"]


def test_a_clipped_text_fits():
    assert clipped("abcdef", 6) == "abcdef"
    assert clipped("abcdefg", 6) == "abcde…"
    assert clipped("日本語", 5) == "日本…"
    assert all(width(clipped("a日b本c語", cells)) <= cells for cells in range(1, 12))


def test_cells_hold_no_control_characters():
    assert columns([("a\x1b[2J", "b\n")]) == ["a\\x1b[2J  b\\n"]
