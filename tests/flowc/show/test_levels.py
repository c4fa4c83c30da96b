"""A plan as text for people."""

# ruff: noqa: E501

import re

from flowc.show import Options, show, summary


def test_the_whole_text(project):
    source = """
    from ops import *

    @operator(cpus=0.5, memory="2GB", gpus=2, gpu_memory=100)
    def train(data: list[int], parts: Parts, rate: float) -> Parts: ...

    @workflow
    def main(name: str, rate: float = 0.5):
        parts = split(load(name))
        models = [train(parts.train, parts, rate) for i in range(3)]
        return gather(models, [parts, name])
    """
    assert (
        show(project.compile(source))
        == """\
main(name: str, rate: float = 0.5)  from flow:main
6 nodes, 4 sites, 4 levels, at most 3 side by side

level  node       operator                                             gives      needs
0      load       load(name)                                           list[int]  1 cpu
1      parts      split(load)                                          Parts      1 cpu
2      models[0]  train(parts.train, parts, rate)                      Parts      0.5 cpus, 2048 MB, 2 gpus, 100 MB a gpu  ┐ 3 side by side
       models[1]  train(parts.train, parts, rate)                      Parts      0.5 cpus, 2048 MB, 2 gpus, 100 MB a gpu  │
       models[2]  train(parts.train, parts, rate)                      Parts      0.5 cpus, 2048 MB, 2 gpus, 100 MB a gpu  ┘
3      gather     gather(models[0], models[1], models[2], ... 2 more)  Any        1 cpu

longest path: load -> parts -> models[0] -> gather
"""
    )


def test_what_a_person_looks_for(project):
    text = show(
        project.main("data = load(name)\nreturn [clean(data), fit(split(data).train)]", "name: str = 'x'")
    )
    lines = text.splitlines()
    assert lines[0] == 'main(name: str = "x")  from flow:main'
    assert lines[1] == "4 nodes, 4 sites, 3 levels, at most 2 side by side"
    assert [re.split(r"  +", line.strip())[:3] for line in lines[3:8]] == [
        ["level", "node", "operator"],
        ["0", "data", "load(name)"],
        ["1", "clean", "clean(data)"],
        ["split", "split(data)", "Parts"],
        ["2", "fit", "fit(split.train)"],
    ]
    assert lines[-1] == "longest path: data -> split -> fit"


def test_a_plan_without_nodes(project):
    assert show(project.main("return 1")).splitlines()[:2] == [
        "main()  from flow:main",
        "0 nodes, 0 sites, 0 levels, at most 0 side by side",
    ]


def test_wide_levels_and_long_paths_are_shortened(project):
    text = show(project.main("xs = [load(str(i)) for i in range(100)]\nreturn gather(xs)"))
    assert re.search(r"^0 +xs\[…\] ×100 +load\(path\) .* 100 side by side$", text, re.MULTILINE)
    assert "... 97 more" in text
    assert "100 side by side" in text
    assert len(text.splitlines()) < 10

    text = show(project.main("x = load()\nfor i in range(100):\n    x = clean(x)\nreturn x"))
    path = text.splitlines()[-1]
    assert path.count("->") == 12
    assert "... 89 more ..." in path


def test_of_equal_paths_the_first_is_shown(project):
    assert show(project.main("a = load()\nb = load()\nreturn gather(a, b)")).endswith(
        "longest path: a -> gather\n"
    )


def test_a_summary_counts(project):
    assert summary(project.main("return load()")) == "1 node, 1 site, 1 level, at most 1 side by side"


def test_levels_of_a_large_plan_that_are_alike_are_one_row(project):
    body = (
        "row = [load(str(i)) for i in range(10)]\nfor layer in range(9):\n    row = [clean(x) for x in row]"
    )
    plan = project.main(f"{body}\nreturn row")
    table = show(plan, options=Options(max_nodes=50)).splitlines()[3:6]
    assert [re.split(r"  +", line)[:2] for line in table] == [
        ["level", "node"],
        ["0", "row[…] ×10"],
        ["1-9", "row~clean[…] ×10"],
    ]


def test_a_narrow_terminal_gets_narrow_lines(project):
    plan = project.main(
        "prepared_data = load(name)\nreturn gather([prepared_data, name], prepared_data)", "name: str"
    )
    lines = show(plan, options=Options(columns=60)).splitlines()[3:6]
    assert max(map(len, lines)) <= 60
    assert "…" in lines[2]


def test_names_cannot_move_the_cursor(hostile):
    assert "\x1b" not in show(hostile)
