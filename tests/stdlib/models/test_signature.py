import json
import os
import sys

import onnx
import pytest

import stdlib.models


@pytest.fixture
def proto(exported, case):
    return onnx.load_from_string(exported(case))


def test_all_models_share_one_signature(data, proto, case):
    def described(values):
        return [
            (
                value.name,
                onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type),
                [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
            )
            for value in values
        ]

    columns, classes = data[case[0]].features.shape[1], len(data[case[0]].classes)
    assert described(proto.graph.input) == [("input", "FLOAT", ["batch", columns])]
    assert described(proto.graph.output) == [
        ("label", "INT64", ["batch"]),
        ("probabilities", "FLOAT", ["batch", classes]),
    ]


def test_the_metadata_name_classes_and_features(data, proto, trained, case):
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert metadata["family"] == trained(case).family
    assert json.loads(metadata["classes"]) == data[case[0]].classes
    assert json.loads(metadata["feature_names"]) == data[case[0]].feature_names


def test_nothing_tells_of_the_machine_that_exported(exported, case):
    for trace in (
        os.getcwd(),
        sys.prefix,
        sys.base_prefix,
        "site-packages",
        '.py"',
        "stack_trace",
        "torch",
        "+cpu",
    ):
        assert trace.encode() not in exported(case), trace


def test_exporting_twice_gives_the_same_bytes(exported, trained, case):
    assert exported(case) == stdlib.models.to_onnx(trained(case))


def test_any_number_of_rows_goes_in(data, exported, case, run_onnx):
    features, classes = data[case[0]].features, len(data[case[0]].classes)
    for rows in (0, 1, 7):
        label, probabilities = run_onnx(exported(case), features[:rows])
        assert (label.shape, probabilities.shape) == ((rows,), (rows, classes))
