"""What all tests have in common."""

import os
import shutil
import tempfile

import pytest
from hypothesis import settings

# The same examples every time; `pytest --hypothesis-profile=search` looks for new ones, for long.
settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
settings.register_profile("search", max_examples=5000, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session", autouse=True)
def own_leases():
    """Tests run side by side, and pretend the same hosts: each process of theirs has a host of its own."""
    folder = os.environ["FLOW_LEASES"] = tempfile.mkdtemp(prefix="leases-")
    yield
    shutil.rmtree(folder)
