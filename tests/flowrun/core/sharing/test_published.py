"""Every figure that the authors of DRF, Slurm and Flux published for their cases."""

import pytest

from benchmarks import fairness
from benchmarks.graph_files import data_folder


def test_every_published_figure_is_met():
    if not (data_folder() / "fair").is_dir():
        pytest.skip(f"there is no {data_folder() / 'fair'}; FLOW_DATA names the folder")
    figures = fairness.measure(str(data_folder()))
    assert figures["wrong"] == []
    assert figures["figures"] == figures["exact"] > 0
