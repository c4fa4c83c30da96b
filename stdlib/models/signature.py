"""The one signature of all exported models, and the finishing touches that make their bytes reproducible.

    input          float32 [batch, columns]     the raw features; scaling is part of the model
    label          int64   [batch]              index of the most probable class
    probabilities  float32 [batch, classes]

The file's `metadata_props` hold `family`, and `classes` and `feature_names` as JSON lists.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from flowc import Array
from stdlib.types import Model

INPUT, LABEL, PROBABILITIES = "input", "label", "probabilities"

# What torch's exporter writes of itself, so that all families agree; onnxruntime takes it since 1.18.
OPSET, OPSET_ML, IR_VERSION = 20, 3, 10


def assemble(
    model: Model[Any], nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Array]
) -> onnx.ModelProto:
    """A finished model of nodes that compute `label` and `probabilities` from `input` and named constants."""
    columns, classes = len(model.feature_names), len(model.classes)
    graph = helper.make_graph(
        nodes,
        name=model.family,
        inputs=[helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", columns])],
        outputs=[
            helper.make_tensor_value_info(LABEL, TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["batch", classes]),
        ],
        initializer=[numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = {node.domain: OPSET_ML if node.domain == "ai.onnx.ml" else OPSET for node in nodes}
    imports = [helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())]
    return finish(model, helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION))


def finish(model: Model[Any], proto: onnx.ModelProto) -> onnx.ModelProto:
    """Check the ONNX model, drop what depends on the machine that built it, and attach the metadata.

    torch's exporter notes stack traces with file paths on every node, and the build of torch.
    """
    graph = proto.graph
    for part in (
        proto,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for node in graph.node:
        node.attribute.sort(key=lambda attribute: attribute.name)
    proto.producer_name = "stdlib"
    proto.ClearField("producer_version")
    helper.set_model_props(
        proto,
        {
            "classes": json.dumps(list(model.classes)),
            "family": model.family,
            "feature_names": json.dumps(list(model.feature_names)),
        },
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto
