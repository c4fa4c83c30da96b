"""What ids calls get: the author's names, so that a plan reads like its source and a diff stays small."""

# ruff: noqa: E501 - a case a line

import pytest

from flowc.plan.diagnostics import Place
from flowc.spans import clean


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ("x = load()", ["x"]),
        ("x: list[int] = load()", ["x"]),
        ("gather(x := load())", ["x", "gather"]),
        ("a = b = load()", ["a"]),
        ("a, b = load(), clean([1])", ["a", "b"]),
        ("a, *rest = load(), load(), load()", ["a", "load", "load~2"]),
        ("(a, b), c = (load(), load()), load()", ["load", "load~2", "c"]),
        ("x = load() if True else None", ["x"]),
        ("load.model = load()", ["model"]),
        ("x = split([1]).train", ["x"]),
        ("x = [load(), load()]", ["load", "load~2"]),
        ("x = load\ny = x()", ["y"]),
    ],
)
def test_a_call_is_named_after_what_it_is_assigned_to(project, body, ids):
    assert project.ids(body) == ids


def test_a_call_without_a_name_is_called_as_its_operator(project):
    assert project.ids("return fit(clean(load()))") == ["load", "clean", "fit"]
    assert project.ids("load()\nload()\nreturn load()") == ["load", "load~2", "load~3"]


def test_a_call_over_several_lines_is_one_call(project):
    plan = project.main(
        """
        x = clean(
            clean(
                load(),
            )
        )
        return x
        """
    )
    assert [(span.site, span.at) for span in plan.spans] == [
        ("load", "flow.py:7:13"),
        ("clean", "flow.py:6:9"),
        ("x", "flow.py:5:9"),
    ]


def test_a_variable_that_is_assigned_again_is_told_apart_by_the_operator(project):
    assert project.ids("x = load()\nx = clean(x)\nx = clean(x)\nreturn x") == ["x", "x~clean", "x~2"]


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ("d = {'train': load(), 'b c': load(), 3: load()}", ["train", "b_c", "load"]),
        ("d = {}\nd['train'] = load()\nd[1] = load()", ["d.train", "d.1"]),
        ("d = {}\nfor k in 'ab':\n    d[k] = load()", ["d[a]", "d[b]"]),
        ("d = dict(train=load())", ["load"]),
    ],
)
def test_a_call_in_a_dict_is_named_after_its_key(project, body, ids):
    assert project.ids(body) == ids


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ("for n in 'ab':\n    x = load(n)\n    clean(x)", ["x[a]", "clean[a]", "x[b]", "clean[b]"]),
        ("for n in 'ab':\n    for i in range(2):\n        load()", [f"load[{n},{i}]" for n in "ab" for i in "01"]),
        ("for i, (a, b) in enumerate(['pq', 'rs']):\n    load(b)", ["load[0,p,q]", "load[1,r,s]"]),
        ("xs = [load(n) for n in 'ab']", ["xs[a]", "xs[b]"]),
        ("xs = list(load(n) for n in 'ab')", ["xs[a]", "xs[b]"]),
        ("xs = {n: load(n) for n in 'ab'}", ["xs[a]", "xs[b]"]),
        ("xs = [gather(a, b) for a in 'ab' for b in (1, 2)]", ["xs[a,1]", "xs[a,2]", "xs[b,1]", "xs[b,2]"]),
        ("xs = [[gather(a, b) for b in (1, 2)] for a in 'ab']", ["xs[a,1]", "xs[a,2]", "xs[b,1]", "xs[b,2]"]),
        ("for n in 'ab':\n    xs = [gather(n, i) for i in (1, 2)]", ["xs[a,1]", "xs[a,2]", "xs[b,1]", "xs[b,2]"]),
        ("for n in 'ab':\n    pass\nelse:\n    load(n)", ["load"]),
        ("xs = [clean(x) for x in [load(n) for n in 'ab']]", ["load[a]", "load[b]", "xs", "xs#2"]),
    ],
)  # fmt: skip
def test_a_call_in_a_loop_is_keyed_by_the_loop_variables(project, body, ids):
    assert project.ids(body) == ids


def test_equal_loop_keys_are_counted(project):
    assert project.ids("for n in ['a/b', 'a b', 'c']:\n    x = load(n)") == ["x[a_b]", "x[a_b]#2", "x[c]"]


def test_the_same_call_in_a_while_loop_is_counted(project):
    plan = project.main(
        """
        x, i = load(), 0
        while i < 3:
            x = clean(x)
            i += 1
        """
    )
    assert [node.id for node in plan.nodes] == ["x", "x~clean", "x~clean#2", "x~clean#3"]
    assert [site.site for site in plan.sites] == ["x", "x~clean"]
    assert plan.nodes[3].args == {"data": {"from": "x~clean#2"}}


HELPER = "def prep(n):\n    d = load(n)\n    return clean(d)\n"


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        (HELPER + "a = prep('a')\nb = prep('b')", ["a/d", "a/clean", "b/d", "b/clean"]),
        (HELPER + "return gather(prep('x'))", ["prep/d", "prep/clean", "gather"]),
        (HELPER + "for n in 'pq':\n    c = prep(n)", ["c[p]/d", "c[p]/clean", "c[q]/d", "c[q]/clean"]),
        (HELPER + "xs = [prep(n) for n in 'pq']", ["xs[p]/d", "xs[p]/clean", "xs[q]/d", "xs[q]/clean"]),
        ("def f(ns):\n    return [clean(n) for n in ns]\nfor g in 'xy':\n    h = f([[1]])", ["h[x]/clean", "h[y]/clean"]),
        ("def r(x, n):\n    y = clean(x)\n    return r(y, n - 1) if n else y\nr([1], 2)", ["r/y", "r/r/y", "r/r/r/y"]),
        ("class H:\n    def go(self):\n        self.x = load()\nh = H()\ny = h.go()", ["y/x"]),
        ("f = lambda n: load(n)\nx = f('a')\ny = f('b')", ["load", "load#2"]),
    ],
)  # fmt: skip
def test_a_helper_is_a_scope(project, body, ids):
    assert project.ids(body) == ids


def test_a_nested_workflow_is_a_scope(project):
    source = """
    from ops import *

    @workflow
    def prep(name: str):
        data = load(name)
        return clean(data)

    @workflow
    def main():
        left = prep("a")
        return fit(prep("b")), left
    """
    plan = project.compile(source)
    assert [node.id for node in plan.nodes] == ["left/data", "left/clean", "prep/data", "prep/clean", "fit"]
    assert plan.header.result == [{"from": "fit"}, {"from": "left/clean"}]


def test_a_helper_in_another_file_keeps_its_own_place(project):
    project.write("team/__init__.py", "")
    project.write(
        "team/steps.py", "from ops import clean, load\n\ndef prep(name):\n    return clean(load(name))\n"
    )
    plan = project.compile(
        "from ops import *\nfrom team.steps import prep\n@workflow\ndef main():\n    x = prep('a')\n"
    )
    assert [(span.site, span.at) for span in plan.spans] == [
        ("x/load", "team/steps.py:4:18"),
        ("x/clean", "team/steps.py:4:12"),
    ]


def test_equal_code_in_two_files_has_two_places(project):
    for name in ("one.py", "two.py"):
        project.write(name, "from ops import load\n\ndef prep():\n    return load()\n")
    plan = project.main("import one, two\na = one.prep()\nb = two.prep()")
    assert [span.at for span in plan.spans] == ["one.py:4:12", "two.py:4:12"]


BASE = [
    "data = load()",
    "parts = split(data)",
    "for n in 'ab':",
    "    m = fit(parts.train)",
    "return gather(m)",
]


@pytest.mark.parametrize("at", range(len(BASE) + 1))
@pytest.mark.parametrize(
    "line", ["", "# a remark", "more = clean([1])", "gather()", "x = [load(i) for i in 'ab']"]
)
def test_inserting_a_line_renames_nothing(project, at, line):
    indent = "    " if at == 3 else ""
    before = project.main("\n".join(BASE))
    after = project.main("\n".join([*BASE[:at], indent + line, *BASE[at:]]))
    added = {"more", "gather", "gather~2", "x"} | {"load"}
    old, new = ({site.site for site in plan.sites} for plan in (before, after))
    assert old <= new
    assert new - old <= added
    rows = {site.site: site for site in after.sites}
    # `gather()` before the other one without a name takes that name: the only case, and it cannot be told.
    if line != "gather()":
        assert all(rows[site.site] == site for site in before.sites)
        assert all(node in after.nodes for node in before.nodes)


def test_moving_lines_changes_only_the_spans(project):
    one = project.main("a = load()\nb = clean(a)\nreturn b")
    two = project.main("a = load()\n\n\n# more air\nb = (\n    clean(a)\n)\nreturn b")
    assert (one.header, one.sites, one.nodes, one.levels) == (two.header, two.sites, two.nodes, two.levels)
    assert [s.at for s in two.spans] == ["flow.py:5:9", "flow.py:10:9"]


def test_columns_count_characters_not_bytes(project):
    assert project.main("größe = 'äöü'; x = load('日本'); return x").spans[0].at == "flow.py:5:24"
    assert project.ids("größe = load()") == ["größe"]


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("a/b c", "a_b_c"),
        ("v1.0+x-y_z", "v1.0+x-y_z"),
        ("[#]", "___"),
        ("é", "é"),
        ("x" * 99, "x" * 64),
        ("", ""),
    ],
)
def test_a_key_is_cleaned(key, shown):
    assert clean(key) == shown


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        ("[1, -2]", ["load[1]", "load[-2]"]),
        ("[0.5, 1e-05]", ["load[0.5]", "load[1e-05]"]),
        ("[True]", ["load[True]"]),
        ("numpy.arange(2)", ["load[0]", "load[1]"]),
        ("[None, None]", ["load", "load#2"]),
        ("[datetime.date(2024, 1, 31)]", ["load[2024-01-31]"]),
        ("[load(''), ['x']]", ["load", "load~2", "load~2#2"]),
    ],
)
def test_only_what_reads_well_is_a_key(project, values, ids):
    assert project.ids(f"import datetime, numpy\nfor v in {values}:\n    load('')") == ids


def test_code_without_source_has_ids_too(project):
    plan = project.main("exec('from ops import *; a = load(); b = clean(a)', {})")
    assert [node.id for node in plan.nodes] == ["exec/load", "exec/clean"]


def test_a_place_reads_back():
    for place in (Place("a.py"), Place("a.py", 3), Place("a/b.py", 3, 7)):
        assert Place.parse(str(place)) == place


def test_calls_from_one_frame_after_another(project):
    """What is known of the frames around the innermost one holds for no longer than they wait."""
    ids = project.ids(
        """
        def generated():
            for i in range(2):
                yield gather(i)
        def called(n):
            return gather(n)
        g = generated()
        first = next(g)
        for k in range(2):
            second = [called(n) for n in range(2)]
            third = [called(n) for n in range(2)]
        fourth = next(g)
        """
    )
    loops = [f"{name}[{k},{n}]/gather" for k in range(2) for name in ("second", "third") for n in range(2)]
    assert ids == ["first/gather[0]", *loops, "fourth/gather[1]"]


def test_loop_variables_that_are_changed_from_within_a_comprehension(project):
    body = """
        def bump():
            nonlocal n
            n += 10
        for n in range(2):
            x = [gather(n := n + k) for k in (2, 3)]
            y = [gather(bump()) for k in (4, 5)]
        """
    assert project.ids(body) == [
        *("x[2,2]", "x[5,3]", "y[15,4]", "y[25,5]"),
        *("x[3,2]", "x[6,3]", "y[16,4]", "y[26,5]"),
    ]


def test_a_comprehensions_variable_that_is_also_one_of_a_closure(project):
    """Python 3.13.0 to 3.13.2 crash where `f_locals` is asked for it."""
    body = """
        i = "i"
        name = lambda: i
        x = [gather(i) for i in ("", 0, "a")]
        y = [gather((lambda: load(name()))(), i) for i in ("b", 0.5)]
        z = [(lambda: [gather(i), (lambda: i)()])() for i in (1, 2)]
        """
    assert [node for node in project.ids(body) if not node.startswith("load")] == [
        *["x", "x[0]", "x[a]"],
        *["y[b]", "y[0.5]"],
        *["gather", "gather#2"],
    ]
