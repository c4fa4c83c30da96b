"""GPUs and their memory, by a made-up driver."""

import ctypes
import os
import sys

import pytest
from fake_nvml import MB, Driver

from flowserve.core.models.seat import Gpu
from flowserve.shell.models import gpus
from flowserve.shell.models.gpus import Held, detect, grown, held

THREE = [("A100", "GPU-aa", 1000), ("T4", "GPU-ab", 100), ("H100", "GPU-bb", 2000)]
ME = os.getpid()


@pytest.fixture(autouse=True)
def _asked_anew():
    gpus._nvml.cache_clear()
    yield
    gpus._nvml.cache_clear()


def detected(setting=None):
    noted = []
    found = detect({} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}, noted.append)
    return [(gpu.number, gpu.uuid) for gpu in found], noted


def test_all_that_are_there_with_what_is_free(monkeypatch):
    Driver(monkeypatch, THREE).taken["GPU-ab"][99] = 30
    assert detect({}, print) == [
        Gpu(0, "A100", "GPU-aa", 1000 * MB),
        Gpu(1, "T4", "GPU-ab", 70 * MB),
        Gpu(2, "H100", "GPU-bb", 2000 * MB),
    ]


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        ("2,0", [(0, "GPU-bb"), (1, "GPU-aa")]),
        ("1", [(0, "GPU-ab")]),
        ("GPU-bb", [(0, "GPU-bb")]),
        ("", []),
        ("0,7,1", [(0, "GPU-aa")]),
    ],
)
def test_they_are_numbered_as_cuda_numbers_what_it_is_shown(monkeypatch, setting, found):
    Driver(monkeypatch, THREE)
    assert detected(setting) == (found, [])


def test_one_in_mig_mode_is_left_out_and_noted(monkeypatch):
    Driver(monkeypatch, THREE, divided=["GPU-aa"])
    assert detected() == ([(0, "GPU-ab"), (1, "GPU-bb")], ["GPU 0 (A100) is in MIG mode, and left out"])


def test_one_that_is_lost_leaves_the_others(monkeypatch):
    driver = Driver(monkeypatch, THREE)
    whole = driver.nvml.nvmlDeviceGetUUID

    def lost(gpu):
        if gpu[0] == "A100":
            raise driver.nvml.NVMLError("GPU is lost")
        return whole(gpu)

    driver.nvml.nvmlDeviceGetUUID = lost
    assert [uuid for _, uuid in detected()[0]] == ["GPU-ab", "GPU-bb"]


def test_no_driver_is_normal_and_costs_no_import(monkeypatch):
    def absent(name):
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it would raise
    assert detected() == ([], [])
    assert held(Gpu(0, uuid="GPU-aa")) is None


def test_memory_is_this_processs_where_the_driver_tells(monkeypatch):
    driver = Driver(monkeypatch, THREE)
    gpu = Gpu(1, uuid="GPU-bb")
    assert held(gpu) == Held(None, 2000 * MB), "it has not come to the GPU yet"
    driver.taken["GPU-bb"] = {ME: 300, 99: 500}
    before = held(gpu)
    driver.taken["GPU-bb"] = {ME: 350, 99: 900}
    assert grown(before, held(gpu)) == 50 * MB, "whatever another took meanwhile"


def test_it_is_what_is_no_longer_free_where_the_driver_does_not_tell(monkeypatch):
    driver = Driver(monkeypatch, THREE, tells=False)
    gpu = Gpu(1, uuid="GPU-bb")
    driver.taken["GPU-bb"] = {ME: 300}
    before = held(gpu)
    assert before == Held(None, 1700 * MB)
    driver.taken["GPU-bb"][ME] = 350
    assert grown(before, held(gpu)) == 50 * MB
    driver.taken["GPU-bb"][ME] = 10
    assert grown(before, held(gpu)) == 0


def test_of_a_gpu_that_is_gone_nothing_can_be_said(monkeypatch):
    driver = Driver(monkeypatch, THREE)
    before = held(Gpu(0, uuid="GPU-aa"))
    driver.gpus = driver.gpus[1:]
    assert held(Gpu(0, uuid="GPU-aa")) is None
    assert grown(before, None) is grown(None, before) is None
