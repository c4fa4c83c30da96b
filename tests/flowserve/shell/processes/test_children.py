"""What a server's processes are started with."""

import pytest

from flowserve.shell.processes.children import environment


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, "glibc.malloc.hugetlb=1"),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}, "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"),
        ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, "glibc.malloc.hugetlb=0"),
    ],
)
def test_malloc_asks_for_huge_pages_unless_somebody_has_said_otherwise(ours, theirs):
    assert environment({"HOME": "/", **ours}) == {"HOME": "/", "GLIBC_TUNABLES": theirs}
