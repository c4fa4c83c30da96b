"""How diagnostics look and in which order they come."""

# ruff: noqa: E501

import gc
import re
import weakref

import pytest

from flowc.plan.codes import CODES
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, in_order, print_refusal, refuse, render

SOURCE = {
    ("a.py", 3): "    x = f(größe, 1)\n",
    ("a.py", 12): "\ty = 1\n",
    ("long.jsonl", 1): "x" * 500,
    ("a.py", 5): "  \n",
}


def text(*labels, notes=(), hint=""):
    diagnostic = Diagnostic("FC101", "it is wrong", tuple(labels), notes, hint)
    return render(diagnostic, lambda file, line: SOURCE.get((file, line), ""))


def test_a_whole_diagnostic():
    found = text(
        Label(Place("a.py", 3, 11, 16), "this is `A`"),
        Label(Place("a.py", 12, 2, 3), "made here"),
        notes=("one", "two\nthree"),
        hint="do it so",
    )
    assert found == (
        "error[FC101]: it is wrong\n"
        "  --> a.py:3:11\n"
        "3 |     x = f(größe, 1)\n"
        "  |           ^^^^^ this is `A`\n"
        "  --> a.py:12:2\n"
        "12 | \ty = 1\n"
        "   | \t^ made here\n"
        "  one\n"
        "  two\n"
        "  three\n"
        "hint: do it so\n"
        "      `flowc explain FC101`"
    )


def test_a_warning_says_so():
    found = Diagnostic("FC210", "it is for nothing", severity="warning")
    assert render(found) == "warning[FC210]: it is for nothing\n      `flowc explain FC210`"


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        (Label(Place("a.py")), ["  --> a.py"]),
        (Label(Place("a.py"), "here"), ["  --> a.py: here"]),
        (Label(Place("a.py", 3)), ["  --> a.py:3", "3 |     x = f(größe, 1)"]),
        (Label(Place("a.py", 3), "here"), ["  --> a.py:3", "3 |     x = f(größe, 1)", "  | here"]),
        (Label(Place("a.py", 4, 2, 3), "here"), ["  --> a.py:4:2: here"]),
        (Label(Place("a.py", 5, 1, 2)), ["  --> a.py:5:1"]),
        (Label(Place("long.jsonl", 1, 2, 3)), ["  --> long.jsonl:1:2"]),
        (
            Label(Place("a.py", 3, 9, 900)),
            ["  --> a.py:3:9", "3 |     x = f(größe, 1)", "  |         " + "^" * 11],
        ),
        (Label(Place("a.py", 3, 9)), ["  --> a.py:3:9", "3 |     x = f(größe, 1)", "  |         ^"]),
    ],
)
def test_a_label(label, shown):
    assert text(label).splitlines()[1:-1] == shown


def test_order_is_by_place_and_each_comes_once():
    def at(file, line, column, code="FC101"):
        return Diagnostic(code, f"{file}{line}{column}", (Label(Place(file, line, column)),))

    nowhere = Diagnostic("FC102", "nowhere")
    expected = [nowhere, at("a", 2, 9), at("a", 10, 1), at("a", 10, 1, "FC102"), at("b", 1, 1)]
    assert in_order([*reversed(expected), *expected]) == expected


def test_a_refusal_says_what_in_its_text():
    with pytest.raises(Refused, match=re.escape("[FC101] it is wrong")):
        refuse("FC101", "it is wrong", Place("a.py"))


def test_a_bare_refusal_keeps_nothing_alive_that_was_there_when_it_was_raised():
    class Session:
        """What one would like to be rid of."""

    def failing():
        session = Session()
        gone = weakref.ref(session)
        try:
            raise ValueError(session)
        except ValueError:
            try:
                refuse("FC101", "it is wrong")
            except Refused as refused:
                return refused.bare(), gone

    refused, gone = failing()
    gc.collect()
    assert gone() is None
    assert str(refused) == "[FC101] it is wrong"


def test_refusals_are_printed_in_order_with_an_empty_line_between(capsys):
    print_refusal(
        Refused(
            Diagnostic("FC102", "b", (Label(Place("z")),)), Diagnostic("FC101", "a", (Label(Place("y")),))
        )
    )
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "error[FC101]: a\n  --> y\n      `flowc explain FC101`\n\nerror[FC102]: b\n  --> z\n      `flowc explain FC102`\n"
    )


def test_an_unknown_code_is_our_bug():
    with pytest.raises(AssertionError):
        Diagnostic("FC999", "no such code")


def test_codes_are_sorted_within_their_family_and_say_it_in_a_line():
    assert all(re.fullmatch(r"(FC|FR|FS|FF)\d{3}", code) for code in CODES)
    for family in ("FC", "FR", "FS"):
        codes = [code for code in CODES if code.startswith(family)]
        assert codes == sorted(codes)
    assert all(line and "\n" not in line and not line.endswith(".") for line in CODES.values())


@pytest.mark.parametrize(
    "place", [Place("a"), Place("dir/a.py", 1), Place("a b.py", 1, 2), Place("c:/a.py", 1, 2)]
)
def test_a_place_reads_back(place):
    assert Place.parse(str(place)) == place
