"""The operator library: what workflows are built from, and two ready workflows on real data.

`import stdlib` and its operator modules cost next to nothing: numpy, torch, scikit-learn and ONNX are
imported where an operator runs. Heavy code lives in `stdlib.models`, one module a family of models.
"""
