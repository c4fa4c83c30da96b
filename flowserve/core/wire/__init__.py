"""The Open Inference Protocol v2 and its extensions, as values."""
