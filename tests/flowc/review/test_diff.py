"""What two plans differ in."""

import pytest
from msgspec import UNSET

from flowc.plan.codec import decode, encode
from flowc.review.diff import compare

FLOW = """
from ops import *

@workflow
def main(path: str = "a", rate: float = 0.5):
    raw = load(path)
    parts = split(raw)
    models = [fit(parts.train, rate) for i in range(3)]
    return {"models": models, "test": parts.test}
"""


@pytest.fixture
def changed(project):
    """Compile `FLOW`, and again with some replacements; the difference."""

    def changed(*replacements, source=FLOW):
        old = project.compile(source)
        for was, now in replacements:
            assert was in source
            source = source.replace(was, now)
        return compare(old, project.compile(source))

    return changed


def sites(difference):
    return [(site.site, site.status, site.nodes.old, site.nodes.new) for site in difference.sites]


def edits(found):
    return {edit.what: (edit.old, edit.new) for edit in found}


def again(difference):
    return {rerun.site: (rerun.nodes, rerun.of, rerun.reasons) for rerun in difference.runs_again}


def rewrites(site):
    return [(rewrite.parameter, rewrite.old, rewrite.new, rewrite.nodes) for rewrite in site.arguments]


def test_a_plan_and_itself(changed):
    difference = changed()
    assert difference.same
    assert (difference.sites, difference.runs_again, difference.moved) == ((), (), 0)


def test_moved_calls_are_no_difference(changed):
    difference = changed(("    raw", "\n    raw"))
    assert difference.same
    assert difference.moved == 3


def test_a_new_site_and_what_depends_on_it(changed):
    difference = changed(("split(raw)", "split(clean(raw))"))
    assert sites(difference) == [("clean", "added", 0, 1), ("parts", "changed", 1, 1)]
    assert difference.sites[0].added == ("clean",)
    assert rewrites(difference.sites[1]) == [("data", "raw", "clean", ("parts",))]
    assert again(difference) == {
        "clean": (1, 1, {"new": 1}),
        "parts": (1, 1, {"arguments": 1}),
        "models": (3, 3, {"upstream": 3}),
    }
    path = difference.critical_path
    assert (path.old.length, path.new.length, path.joined, path.left) == (3, 4, ("clean",), ())


def test_a_site_that_is_gone(changed):
    difference = changed(("split(clean(raw))", "split(raw)"), source=FLOW.replace("(raw)", "(clean(raw))"))
    assert sites(difference) == [("parts", "changed", 1, 1), ("clean", "removed", 1, 0)]
    assert difference.sites[1].removed == ("clean",)
    assert difference.critical_path.left == ("clean",)


def test_a_site_counts_once_however_many_nodes_it_has(changed):
    own = FLOW.replace("@workflow", "@operator\ndef fit(data: Any, rate: Any) -> float: ...\n\n@workflow")
    options = ("@operator", "@operator(retries=2, cpus=2)")
    difference = changed(options, ("float: ...", "int: return 3"), source=own)
    (site,) = difference.sites
    assert (site.status, site.nodes.new, site.arguments) == ("changed", 3, ())
    found = edits(site.edits)
    assert {name: found[name] for name in found if name != "code"} == {
        "gives": ("float", "int"),
        "needs.cpus": (1, 2),
        "retries": (0, 2),
    }
    assert again(difference) == {"models": (3, 3, {"code": 3})}
    assert (difference.needs["cpus"].old.total, difference.needs["cpus"].new.total) == (5, 8)
    assert (difference.needs["cpus"].old.peak, difference.needs["cpus"].new.peak) == (3, 6)


def test_resources_alone_make_nothing_run_again(changed):
    own = FLOW.replace("@workflow", "@operator\ndef fit(data: Any, rate: Any) -> float: ...\n\n@workflow")
    difference = changed(("@operator", "@operator(gpus=2, gpu_memory=100, memory='1GB')"), source=own)
    assert not difference.same
    assert difference.runs_again == ()
    assert {name: both.new.peak for name, both in difference.needs.items()} == {
        "cpus": 3, "memory_mb": 3 * 1024, "gpus": 6, "gpu_memory_mb": 600
    }  # fmt: skip


def test_arguments_are_told_by_site(changed):
    difference = changed(("fit(parts.train, rate)", "fit(parts.test, 0.1 * i)"))
    (site,) = difference.sites
    assert rewrites(site) == [
        ("data", "parts.train", "parts.test", ("models[0]", "models[1]", "models[2]")),
        ("rate", "input rate", "0.0", ("models[0]",)),
        ("rate", "input rate", "0.1", ("models[1]",)),
        ("rate", "input rate", "0.2", ("models[2]",)),
    ]


def test_where_nothing_but_loop_values_changed_nodes_are_told_together(project):
    body = "xs = [load(str(i)) for i in range(4)]\nys = [clean(xs[{}]) for i in range(3)]\nreturn ys"
    (site,) = compare(project.main(body.format("i")), project.main(body.format("i + 1"))).sites
    (rewrite,) = site.arguments
    assert (rewrite.old, rewrite.new, rewrite.alike) == ("xs[0]", "xs[1]", True)
    assert rewrite.nodes == ("ys[0]", "ys[1]", "ys[2]")


def test_nodes_of_a_site(changed):
    difference = changed(("range(3)", "range(1, 5)"))
    (site,) = difference.sites
    assert (site.added, site.removed, site.arguments) == (("models[3]", "models[4]"), ("models[0]",), ())
    assert edits(difference.outputs) == {
        "models": ("[models[0], models[1], models[2]]", "[models[1], models[2], models[3], models[4]]")
    }
    assert again(difference) == {"models": (2, 4, {"new": 2})}


@pytest.mark.parametrize(
    ("before", "after"), [("load('x')", "load()"), ("load()", "load('x')"), ("fit([], 1)", "fit([], 1.0)")]
)
def test_literals_that_come_go_or_are_written_differently(project, before, after):
    old, new = (project.main(f"x = {call}\nreturn x") for call in (before, after))
    (site,) = compare(old, new).sites
    assert [rewrite.alike for rewrite in site.arguments] == [False]
    assert again(compare(old, new)) == {"x": (1, 1, {"arguments": 1})}


def test_inputs_and_outputs(changed):
    difference = changed(
        ('path: str = "a"', "path: str"), ("rate: float = 0.5", "rate: float = 1.0, seed: int = 3"),
        ('"test": parts.test', '"quality": parts.train'),
    )  # fmt: skip
    assert edits(difference.inputs) == {
        "path": ('str = "a"', "str"), "rate": ("float = 0.5", "float = 1.0"), "seed": (UNSET, "int = 3"),
    }  # fmt: skip
    assert edits(difference.outputs) == {
        "test": ("parts.test", UNSET), "quality": (UNSET, "parts.train"),
    }  # fmt: skip
    assert again(difference) == {
        "raw": (1, 1, {"inputs": 1}), "parts": (1, 1, {"upstream": 1}), "models": (3, 3, {"inputs": 3}),
    }  # fmt: skip


def test_fields_of_types(project):
    source = """
    from ops import *

    @dataclass
    class Pair:
        one: int
        two: float

    @operator
    def make() -> Pair: ...

    @workflow
    def main():
        return make()
    """
    difference = compare(project.compile(source), project.compile(source.replace("two: float", "two: int")))
    assert edits(difference.types) == {"flow:Pair.fields.two": ("float", "int")}


def test_a_variable_with_another_name_is_a_renamed_site(changed):
    difference = changed(("raw", "rows"))
    (site,) = difference.sites
    assert (site.site, site.status, site.was) == ("rows", "renamed", "raw")
    assert (site.edits, site.arguments) == ((), ())
    assert (site.added, site.removed) == ((), ())
    # A run finds what an earlier one kept by the node's id; what depends on it has the same key.
    assert again(difference) == {"rows": (1, 1, {"renamed": 1})}
    assert (difference.critical_path.joined, difference.critical_path.left) == ((), ())


def test_everything_in_a_scope_is_renamed_with_it(project):
    source = """
    from ops import *

    def prepare(name):
        data = load(name)
        for i in range(2):
            data = clean(data)
        return split(data)

    @workflow
    def main():
        for name in ("a", "b"):
            ready = prepare(name)
        return fit(ready.train)
    """
    old = project.compile(source)
    difference = compare(old, project.compile(source.replace("ready", "set_up")))
    assert {(site.site, site.was) for site in difference.sites} == {
        (site.site.replace("ready", "set_up"), site.site) for site in old.sites if "ready" in site.site
    }
    assert {site.status for site in difference.sites} == {"renamed"}
    assert set(again(difference)) == {site.site for site in difference.sites}


def test_a_renamed_site_may_have_other_code(changed):
    own = FLOW.replace("@workflow", "@operator\ndef tune(data: Any, rate: Any) -> float: ...\n\n@workflow")
    own = own.replace("[fit(", "[tune(")
    (site,) = changed(("models = ", "nets = "), ('"models": models', '"models": nets'),
                      ("float: ...", "float: return 2.0"), source=own).sites  # fmt: skip
    assert (site.site, site.status, site.was, [edit.what for edit in site.edits]) == (
        "nets", "renamed", "models", ["code"],
    )  # fmt: skip


@pytest.mark.parametrize("now", ["load('b')", "clean([])", "[load('a') for i in range(2)]"])
def test_what_differs_in_more_than_its_name_is_not_renamed(project, now):
    old, new = project.main("x = load('a')\nreturn x"), project.main(f"y = {now}\nreturn y")
    assert [site.status for site in compare(old, new).sites] == ["added", "removed"]


def test_equal_sites_are_paired_in_order(project):
    old = project.main("a = load('x')\nb = load('x')\nreturn [a, b]")
    new = project.main("c = load('x')\nd = load('x')\nreturn [c, d]")
    assert [(site.was, site.site) for site in compare(old, new).sites] == [("a", "c"), ("b", "d")]


def test_a_weight_gives_the_critical_path_another_length(project):
    old = project.main("x = load('a')\ny = clean(x)\nz = fit([])\nreturn [y, z]")
    path = compare(old, old, lambda site: 9.5 if site.site == "z" else 1.0, "s").critical_path
    assert (path.unit, path.old.length, path.old.nodes, path.joined) == ("s", 9.5, ("z",), ())


def test_of_equal_paths_that_of_the_old_plan_is_kept(project):
    old = project.main("b = clean(load('b'))\nreturn b")
    new = project.main("a = clean([])\na2 = clean(a)\nb = clean(load('b'))\nreturn [a2, b]")
    path = compare(old, new).critical_path
    assert (path.new.nodes, path.joined, path.left) == (("load", "b"), (), ())


def test_order_without_data_makes_nothing_run_again(project):
    old = project.main("a = load('a')\nb = load('b')\nreturn [a, b]")
    text = encode(old).decode()
    text = text.replace('"id":"b","args":{"path":"b"}', '"id":"b","args":{"path":"b"},"after":["a"]')
    text = text.replace('"nodes":2,"sites":["a","b"]}', '"nodes":1,"sites":["a"]}\n'
                        '{"kind":"level","level":1,"nodes":1,"sites":["b"]}')  # fmt: skip
    difference = compare(old, decode(text.encode(), "x"))
    (site,) = difference.sites
    assert [(r.parameter, r.old, r.new, r.order) for r in site.arguments] == [("after", "[]", "[a]", True)]
    assert difference.runs_again == ()
    assert difference.critical_path.new.nodes == ("a", "b")
