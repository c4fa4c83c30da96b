"""A real Triton and our server, side by side, with the same models."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.differential import servers, twins
from tests.differential.talking import Asked, Said, ask


class Both(NamedTuple):
    """The servers."""

    triton: servers.Triton
    flowserve: servers.At

    def ask(self, asked: Asked) -> tuple[Said | None, Said]:
        """What Triton answers, None where it dies of that, and what we do."""
        ours = ask(self.flowserve.http, asked)
        try:
            return ask(self.triton.http, asked), ours
        except (ConnectionError, http.client.HTTPException):
            assert self.triton.has_died()
            self.triton.stop()
            self.triton.start()
            return None, ours


@pytest.fixture(scope="session")
def both(tmp_path_factory) -> Iterator[Both]:
    wheel = servers.installed()
    if wheel is None:
        pytest.skip(
            "nvidia-pytriton is not installed: `make nightly` does that, or PEERS names a Python with it"
        )
    theirs, ours = tmp_path_factory.mktemp("triton"), tmp_path_factory.mktemp("flowserve")
    twins.for_triton(theirs / "models")
    twins.for_flowserve(ours / "models")
    with servers.flowserve(ours, ours / "models") as flowserve:
        triton = servers.Triton(wheel, theirs, theirs / "models")
        try:
            triton.start()
            yield Both(triton, flowserve)
        finally:
            triton.stop()
