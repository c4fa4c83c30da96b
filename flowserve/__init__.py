"""flowserve: answers prediction requests over HTTP from ONNX models in a model repository.

The layers go one way: `cli` -> `shell` (files, sockets, onnxruntime) -> `core` (pure). The repository's
folder is specified in `docs/formats/model-repository.md`.
"""
