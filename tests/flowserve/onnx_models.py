"""Small ONNX models, as bytes."""

from onnx import TensorProto, helper, numpy_helper


def serialised(nodes, inputs, outputs, initialisers=()) -> bytes:
    """A model of these nodes; values are (name, type, shape), initialisers (name, array)."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(value, name) for name, value in initialisers],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def negative() -> bytes:
    """`y = -x`."""
    x, y = ((name, TensorProto.FLOAT, ["n"]) for name in "xy")
    return serialised([helper.make_node("Neg", ["x"], ["y"])], [x], [y])
