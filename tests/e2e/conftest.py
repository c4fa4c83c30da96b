"""What tests of real runs have in common."""

import pytest
from project import Project


@pytest.fixture
def project(request, tmp_path):
    """A project of the workflow `FLOW` of the test's module. What it leaves running is killed."""
    project = Project(tmp_path, request.module.FLOW)
    yield project
    for process in project.processes():
        process.kill()
