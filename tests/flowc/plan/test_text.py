from flowc.plan.text import columns


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
