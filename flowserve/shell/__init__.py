"""The world: the model repository on disk, onnxruntime sessions, and the HTTP data plane."""
