"""The tree of scopes."""

from flowc.show import Options, show


def test_scopes_with_loops_folded_up(study):
    assert (
        show(study(), "tree")
        == """\
main()  from flow:main
44 nodes, 14 sites, 8 levels, at most 12 side by side

├─ load[…] ×3          load    list[int]  1 cpu
├─ data[…] ×3          clean   list[int]  1 cpu
├─ table               gather  Any        1 cpu
├─ state               load    list[int]  1 cpu
├─ changed[…] ×3       clean   list[int]  1 cpu
├─ state~gather[…] ×3  gather  Any        1 cpu
├─ first
│  ├─ parts            split   Parts      1 cpu
│  ├─ model[…] ×2      train   float      1 cpu, 1 gpu
│  ├─ score[…] ×2      score   float      1 cpu
│  └─ gather           gather  Any        1 cpu
└─ rest
   ├─ parts ×3         split   Parts      1 cpu
   ├─ model[…] ×9      train   float      1 cpu, 1 gpu
   ├─ score[…] ×9      score   float      1 cpu
   └─ gather ×3        gather  Any        1 cpu
"""
    )


def test_scopes_in_loops_are_counted(project):
    source = """
    from ops import *

    def prepare(name):
        return clean(load(name))

    @workflow
    def main():
        return {name: prepare(name) for name in "abc"}
    """
    assert show(project.compile(source), "tree").splitlines()[3].split() == ["└─", "prepare[…]", "×3"]


def test_one_turn_of_a_loop_keeps_its_key(project):
    assert "└─ x[only]  load" in show(project.main("x = {k: load() for k in ['only']}\nreturn x"), "tree")


def test_many_branches_are_counted(project):
    body = "".join(f"x{i} = load()\n" for i in range(100))
    assert show(project.main(body + "return 1"), "tree").endswith("└─ ... and 60 more\n")


def test_a_narrow_terminal_gets_narrow_lines(study):
    lines = show(study(), "tree", Options(columns=50)).splitlines()[3:]
    assert max(map(len, lines)) <= 50
