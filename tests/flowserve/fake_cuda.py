"""An onnxruntime with CUDA and TensorRT in it, on a made-up driver's GPUs: sessions compute on the CPU.

They take memory of the GPU as was seen of real ones: a context for the process, weights when they are made,
an arena that grows with the rows of a run and no further than its limit, in pieces that are not joined if it
is told so, and beside that a workspace for each thread that runs them, which another one has when that ends.
What is theirs is free once they are gone.
"""

import os
import threading
import weakref
from types import SimpleNamespace

import onnxruntime
from fake_nvml import MB

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
CONTEXT_MB = 300
SHRINK = "memory.enable_memory_arena_shrinkage"
_Session = onnxruntime.InferenceSession


class Cuda:
    """`works` is whether its libraries are found; `takes` are the operators that it can run.

    `made` are the providers with their options that each session was asked for.
    """

    def __init__(
        self,
        monkeypatch,
        driver,
        works=True,
        takes=("MatMul", "Neg", "Add"),
        weights_mb=100,
        row_mb=1,
        thread_mb=0,
        pieces=False,
    ):
        self.driver, self.works, self.takes = driver, works, takes
        self.weights_mb, self.row_mb, self.thread_mb = weights_mb, row_mb, thread_mb
        self.made = []
        self.pieces = pieces
        self.began = set()
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "set_default_logger_severity", lambda level: None)
        monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
        monkeypatch.setattr(onnxruntime, "InferenceSession", self.session)

    def session(self, model, options, providers, enable_fallback=1):
        asked = [(name, {}) if isinstance(name, str) else name for name in providers]
        if asked[0][0] == CPU:
            return _Session(model, options, providers=[CPU])
        assert enable_fallback == 0, "it would go on without the GPU"
        self.made.append(dict(asked))
        for name, value in dict(asked).get(TENSORRT, {}).items():
            if name.endswith("_enable") and value not in ("True", "False"):
                raise RuntimeError(f"The value for the key '{name}' should be 'True' or 'False'.")
        real = _Session(model, options, providers=[CPU])
        return FakeSession(self, real, dict(asked), is_file=isinstance(model, str))

    def take(self, device, mb):
        taken = self.driver.taken[self.driver.gpus[device][1]]
        taken[os.getpid()] = taken.get(os.getpid(), 0) + mb


class FakeSession:
    def __init__(self, cuda, real, providers, is_file):
        self._cuda, self._real, self._providers = cuda, real, providers
        self._device = int(providers[CUDA]["device_id"])
        self._limit_mb = int(providers[CUDA].get("gpu_mem_limit", 2**60)) // MB
        self._held, self._beside, self._threads, self._piece_mb = [0], [0], [], 0
        if not cuda.works:
            self._providers = {CPU: {}}
            return
        if self._device not in cuda.began:
            cuda.began.add(self._device)
            cuda.take(self._device, CONTEXT_MB)
        if is_file:
            self._grow(cuda.weights_mb)
        held, beside, device = self._held, self._beside, self._device
        weakref.finalize(self, lambda: cuda.take(device, -held[0] - beside[0]))

    def _grow(self, mb):
        if mb > self._limit_mb:
            raise RuntimeError(
                "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Gemm node. "
                "Name:'' Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* "
                "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) "
                f"Available memory of {self._limit_mb} is smaller than requested bytes of {mb}\n"
            )
        if mb > self._held[0]:
            self._cuda.take(self._device, mb - self._held[0])
            self._held[0] = mb

    @property
    def _sess(self):  # what the real one's Python stands before
        return self

    def get_providers(self):
        return list(self._providers)

    def get_provider_graph_assignment_info(self):
        parts = self._real.get_provider_graph_assignment_info()
        first = next(iter(self._providers))
        able = [node.op_type in self._cuda.takes for part in parts for node in part.get_nodes()]
        return [SimpleNamespace(ep_name=first if is_able else CPU) for is_able in able]

    def run(self, names, feed, options=None):
        if self._held[0]:
            self._thread()
            before = self._held[0]
            needed = max(array.size for array in feed.values()) * self._cuda.row_mb
            if self._cuda.pieces and needed > self._piece_mb:
                self._grow(before + needed)
                self._piece_mb = needed
            self._grow(self._cuda.weights_mb + needed)
            if options is not None and options.get_run_config_entry(SHRINK) == f"gpu:{self._device}":
                kept = self._cuda.weights_mb if self._cuda.pieces else before
                self._cuda.take(self._device, kept - self._held[0])
                self._held[0], self._piece_mb = kept, 0
        return self._real.run(names, feed)

    def _thread(self):
        self._threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        dead = [thread for thread in self._threads if not thread.is_alive()]
        if dead:
            self._threads.remove(dead[0])
        self._threads.append(threading.current_thread())
        taken_mb = len(self._threads) * self._cuda.thread_mb
        if taken_mb > self._beside[0]:
            self._cuda.take(self._device, taken_mb - self._beside[0])
            self._beside[0] = taken_mb

    def __getattr__(self, name):
        return getattr(self._real, name)
