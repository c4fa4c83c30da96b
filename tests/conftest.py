"""What all tests have in common."""

import os
import shutil
import tempfile

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_leases():
    """Tests run side by side, and pretend the same hosts: each process of theirs has a host of its own."""
    folder = os.environ["FLOW_LEASES"] = tempfile.mkdtemp(prefix="leases-")
    yield
    shutil.rmtree(folder)
