"""Pools of real workers."""

import pytest
from bench import Bench

from flowrun.shell.workers.forkserver import start_zygote


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def clean_bench(tmp_path):
    """One whose zygote is a new interpreter: it has nothing of the tests' process, as modules and threads."""
    bench = Bench(tmp_path, start=start_zygote)
    yield bench
    bench.close()
