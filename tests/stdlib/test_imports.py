import subprocess
import sys

import pytest

HEAVY = ["numpy", "torch", "sklearn", "onnx", "onnxruntime", "onnxscript", "scipy"]


@pytest.mark.parametrize(
    "module",
    [
        "tables",
        "train",
        "evaluate",
        "export",
        "types",
        "models",
        "models.checks",
        "workflows.iris",
        "workflows.digits",
    ],
)
def test_what_a_compiler_imports_is_light(module):
    script = f"import sys, stdlib.{module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("family", ["linear", "trees"])
def test_only_networks_need_torch(family):
    script = f"import sys, stdlib.models.{family}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
