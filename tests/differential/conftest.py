"""A real Triton and our server, side by side, with the same models."""

from __future__ import annotations

import pytest

from tests.differential import servers, twins


@pytest.fixture(scope="session")
def both(tmp_path_factory):
    """Triton's address and ours."""
    wheel = servers.installed()
    if wheel is None:
        pytest.skip(
            "nvidia-pytriton is not installed: `make nightly` does, or PEERS names a Python that has it"
        )
    theirs, ours = tmp_path_factory.mktemp("triton"), tmp_path_factory.mktemp("flowserve")
    twins.for_triton(theirs / "models")
    twins.for_flowserve(ours / "models")
    with (
        servers.flowserve(ours, ours / "models") as flowserve,
        servers.triton(wheel, theirs, theirs / "models") as triton,
    ):
        yield triton, flowserve
